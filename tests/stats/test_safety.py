from __future__ import annotations

import numpy as np
import pytest

from isoklx.errors import UsageError
from isoklx.stats.safety import safe_dose
from tests.small_sweeps import small_sweep

NAN = np.nan


def safe(pmass, **options):
    """The row of a single group whose trajectories have these pmass (alpha, prompt, fork)."""
    names = ("gen_len", "fork", "window")
    sweep_options = {name: options.pop(name) for name in names if name in options}
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
        pmass = [[[0.9, 0.9, 0.9]] * 2 + [[0.9, 0.9, NAN]] * 38]
        gen_len = [[[16] * 2 + [8] * 38]]
        row = safe(pmass, gen_len=gen_len, fork=[0, 4, 16])
        assert np.isnan(row["safe_dose"])
        assert (
            row["reason"] == "too few prompts: 40, some ended early, give 0.22; 580 such would do"
        )
        alive_at_end = safe(pmass, gen_len=gen_len, fork=[0, 4, 16], ended="alive")
        assert alive_at_end["safe_dose"] == 0

    def test_the_reason_states_the_bound_beside_it_and_the_prompts_that_it_takes(self):
        pmass = [[[0.9, 0.9, 0.9]] * 19 + [[0.9, 0.9, NAN]] * 5]
        gen_len = [[[16] * 19 + [8] * 5]]
        row = safe(pmass, gen_len=gen_len, fork=[0, 4, 16])
        assert row["next_lower"] == pytest.approx(0.05 ** (1 / 19))
        assert row["reason"] == "too few prompts: 24, some ended early, give 0.85; 37 such would do"
        assert row["prompts_needed"] == 37
        # With the same share that ends early, 29 of 37 are followed to the end, and 28 of 36.
        assert 37 * 19 / 24 >= 29 > 36 * 19 / 24

    def test_a_dose_at_which_some_died_of_few_says_both(self):
        row = safe([alive(8, dead=1)])
        assert row["reason"] == "1 of 8 died (too few prompts as well: 29, all alive, would do)"

    @pytest.mark.parametrize("ended", ["censored", "alive"])
    def test_no_dose_is_safe_that_was_only_asked_at_token_0(self, ended):
        pmass = [[[0.9, NAN]] * 40] * 3
        row = safe(pmass, gen_len=np.full((1, 3, 40), 15), fork=[0, 16], ended=ended)
        assert np.isnan(row["safe_dose"])
        assert np.isnan(row["observed_dose"])
        if ended == "alive":
            assert row["reason"] == "40 of 40 count as alive and were probed at token 0 only"

    def test_a_single_rollout_that_counts_as_alive_from_token_0_alone_is_enough(self):
        pmass = [[[0.9, NAN]] + [[0.9, 0.9]] * 39]
        gen_len = [[[15] + [16] * 39]]
        row = safe(pmass, gen_len=gen_len, fork=[0, 16], ended="alive")
        assert np.isnan(row["safe_dose"])
        assert row["reason"] == "1 of 40 count as alive and were probed at token 0 only"
        # By default it counts as censored, and the bound is that of the others.
        row = safe(pmass, gen_len=gen_len, fork=[0, 16])
        assert row["safe_dose"] == 0
        assert row["lower"] == pytest.approx(0.05 ** (1 / 39))

    def test_a_window_whose_only_fork_is_token_0_shows_nothing_safe(self):
        row = safe([[[0.9]] * 40], fork=[0], gen_len=[[[64] * 40]], window=64)
        assert np.isnan(row["safe_dose"])
        assert row["reason"] == "40 of 40 count as alive and were probed at token 0 only"

    def test_negative_doses_are_tested_outwards_from_0(self):
        doses = [alive(40, dead=9), alive(40), alive(40), alive(40), alive(40), alive(40, dead=30)]
        ds = small_sweep([doses], fork=[0, 16]).assign_coords(c_star=("cell", [2.0]))
        ds = ds.assign_coords(alpha=[-2.0, -1.0, 0.0, 1.0, 2.0, 4.0])
        up, down = safe_dose(ds, by=None).to_dict("records")
        assert (up["toward"], up["safe_dose"], up["next_dose"]) == ("+", 2, 4)
        assert (up["coeff"], up["observed_dose"], up["observed_coeff"]) == ("4", 2, "4")
        assert (down["toward"], down["safe_dose"], down["next_dose"]) == ("-", -1, -2)
        assert (down["coeff"], down["observed_dose"]) == ("-2", -1)
        assert down["reason"] == "9 of 40 died"

    def test_a_failure_at_0_stops_both_sides(self):
        ds = small_sweep([[alive(40), alive(40, dead=9), alive(40)]], fork=[0, 16])
        ds = ds.assign_coords(c_star=("cell", [2.0]), alpha=[-1.0, 0.0, 1.0])
        table = safe_dose(ds, by=None)
        assert table["safe_dose"].isna().all()
        assert table["next_dose"].tolist() == [0, 0]

    @pytest.mark.parametrize(("alphas", "sides"), [([0, 1], "+"), ([-1, 0], "-"), ([0], "+")])
    def test_a_side_that_was_not_run_has_no_row(self, alphas, sides):
        ds = small_sweep([[alive(40)] * len(alphas)], fork=[0, 16])
        ds = ds.assign_coords(c_star=("cell", [2.0]), alpha=np.array(alphas, dtype=float))
        assert safe_dose(ds, by=None)["toward"].tolist() == list(sides)

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
            ({"survive": 1}, "survive must be above 0 and below 1, got 1"),
            ({"survive": 0}, "survive must be above 0 and below 1, got 0"),
            ({"confidence": 0.4}, "confidence must be at least 0.5 and below 1, got 0.4"),
            ({"by": "doses"}, "cannot group by 'doses'"),
        ],
    )
    def test_what_cannot_be_claimed_is_refused(self, sample_ds, argument, message):
        with pytest.raises(UsageError, match=message):
            safe_dose(sample_ds, **argument)
