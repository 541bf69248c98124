from __future__ import annotations

import numpy as np
import pytest

from isoklx.errors import UsageError
from isoklx.stats.safety import safe_dose
from tests.small_sweeps import small_sweep

NAN = np.nan


def safe(pmass, **options):
    """The row of a single group whose trajectories have these pmass (alpha, prompt, fork)."""
    sweep_options = {name: options.pop(name) for name in ("gen_len", "fork") if name in options}
    ds = small_sweep([pmass], **{"fork": [0, 16]} | sweep_options)
    ds = ds.assign_coords(c_star=("cell", [2.0]))
    (row,) = safe_dose(ds, by=None, **options).to_dict("records")
    return row


def alive(n, dead=0):
    return [[0.9, 0.9]] * (n - dead) + [[0.9, 0.1]] * dead


class TestSafeDose:
    def test_it_is_the_last_before_the_first_failure(self):
        row = safe([alive(40), alive(40), alive(40, dead=8), alive(40)])
        assert (row["safe_dose"], row["next_dose"], row["observed_dose"]) == (1, 2, 1)
        assert row["survival"] == 1
        assert row["lower"] == pytest.approx(0.05 ** (1 / 40))
        assert row["next_survival"] == pytest.approx(0.8)
        assert row["reason"] == "8 of 40 died"
        assert row["coeff"] == "2"

    def test_with_few_prompts_none_is_safe_and_it_says_how_many_would_do(self):
        row = safe([alive(8), alive(8), alive(8, dead=1)])
        assert np.isnan(row["safe_dose"])
        assert row["reason"] == "too few prompts: 8, all alive, give 0.69; 29 would do"
        assert (row["n_prompts"], row["prompts_needed"]) == (8, 29)
        assert row["observed_dose"] == 1
        assert row["coeff"] == ""
        enough = safe([alive(29)])
        assert enough["safe_dose"] == 0
        assert enough["reason"] == "no larger dose was tested"
        assert np.isnan(safe([alive(28)])["safe_dose"])

    def test_counts_are_those_of_the_dose_that_decided_it(self):
        twice = small_sweep([[alive(8), alive(8, 1)]] * 2, fork=[0, 16])
        twice = twice.assign_coords(c_star=("cell", [2.0, 2.0]))
        for distinct, reason in ((True, "1 of 8 died"), (False, "2 of 16 died")):
            (row,) = safe_dose(twice, None, 0.6, distinct=distinct).to_dict("records")
            assert (row["next_dose"], row["reason"]) == (1, reason)
            assert (row["n"], row["n_distinct"], row["n_prompts"]) == (16, 8, 8)

    def test_copies_are_no_prompts(self):
        ds = small_sweep([[alive(8)]] * 4, fork=[0, 16]).assign_coords(c_star=("cell", [2.0] * 4))
        for distinct in (True, False):
            (row,) = safe_dose(ds, by=None, distinct=distinct).to_dict("records")
            assert np.isnan(row["safe_dose"])
            assert row["n_prompts"] == 8

    def test_rollouts_that_ended_tell_nothing_unless_told_otherwise(self):
        pmass = [[[0.9, 0.9]] * 2 + [[0.9, NAN]] * 38]
        gen_len = [[[16] * 2 + [8] * 38]]
        row = safe(pmass, gen_len=gen_len)
        assert np.isnan(row["safe_dose"])
        assert row["reason"] == "nobody died, but too many rollouts ended early for a bound of 0.9"
        assert safe(pmass, gen_len=gen_len, ended="alive")["safe_dose"] == 0

    def test_doses_that_a_group_was_not_run_at_are_no_failure(self):
        row = safe([alive(40), [[NAN, NAN]] * 40, alive(40)])
        assert row["safe_dose"] == 2

    def test_each_cell_has_its_coefficient(self):
        ds = small_sweep([[alive(40)] * 2, [alive(40, 1)] * 2], fork=[0, 16])
        ds = ds.assign_coords(c_star=("cell", [2.0, -3.5]))
        (row,) = safe_dose(ds, by=None, survive=0.8).to_dict("records")
        assert (row["safe_dose"], row["coeff"]) == (1, "cell0 2, cell1 -3.5")

    def test_the_level_is_kept_whatever_the_number_of_doses(self):
        # True survival is just what is claimed, at every dose: any claim is an error.
        dead = np.random.default_rng(0).random((400, 4, 40, 1)) < 0.1
        ds = small_sweep(np.where(dead, [0.9, 0.1], 0.9), fork=[0, 16])
        ds = ds.assign_coords(c_star=("cell", np.ones(400)))
        claims = safe_dose(ds, by="run_id")["safe_dose"].notna().sum()
        assert 0 < claims <= 0.05 * 400 + 2 * np.sqrt(0.05 * 400)

    @pytest.mark.parametrize(
        ("argument", "message"),
        [
            ({"survive": 1}, "survive=1: give a number above 0 and below 1"),
            ({"survive": 0}, "survive=0: give a number above 0"),
            ({"confidence": 0.4}, "confidence=0.4: give a number at least 0.5 and below 1"),
            ({"by": "doses"}, "cannot group by 'doses'"),
        ],
    )
    def test_what_cannot_be_claimed_is_refused(self, sample_ds, argument, message):
        with pytest.raises(UsageError, match=message):
            safe_dose(sample_ds, **argument)
