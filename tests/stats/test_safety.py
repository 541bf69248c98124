from __future__ import annotations

import numpy as np
import pytest

from isoklx.errors import UsageError
from isoklx.stats.safety import safe_dose
from tests.small_sweeps import small_sweep

NAN = np.nan


def safe(pmass, **options):
    """Return the row of a single group with this pmass (alpha, prompt, fork)."""
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

    def test_with_few_prompts_no_dose_is_safe_and_the_reason_gives_the_number_needed(self):
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

    def test_counts_are_of_the_decisive_dose(self):
        twice = small_sweep([[alive(8), alive(8, 1)]] * 2, fork=[0, 16])
        twice = twice.assign_coords(c_star=("cell", [2.0, 2.0]))
        for distinct, reason in ((True, "1 of 8 died"), (False, "2 of 16 died")):
            (row,) = safe_dose(twice, None, 0.6, distinct=distinct).to_dict("records")
            assert (row["next_dose"], row["reason"]) == (1, reason)
            assert (row["n"], row["n_distinct"], row["n_prompts"]) == (16, 8, 8)

    def test_duplicates_do_not_count_as_prompts(self):
        ds = small_sweep([[alive(8)]] * 4, fork=[0, 16]).assign_coords(c_star=("cell", [2.0] * 4))
        for distinct in (True, False):
            (row,) = safe_dose(ds, by=None, distinct=distinct).to_dict("records")
            assert np.isnan(row["safe_dose"])
            assert row["n_prompts"] == 8

    def test_rollouts_that_ended_are_censored_by_default(self):
        pmass = [[[0.9, 0.9, 0.9]] * 2 + [[0.9, 0.9, NAN]] * 38]
        gen_len = [[[16] * 2 + [8] * 38]]
        row = safe(pmass, gen_len=gen_len, fork=[0, 4, 16])
        assert np.isnan(row["safe_dose"])
        assert (
            row["reason"] == "too few prompts: 40, some ended early, give 0.22; 580 such would do"
        )
        alive_at_end = safe(pmass, gen_len=gen_len, fork=[0, 4, 16], ended="alive")
        assert alive_at_end["safe_dose"] == 0

    def test_the_reason_gives_the_bound_and_the_number_of_prompts_needed(self):
        pmass = [[[0.9, 0.9, 0.9]] * 19 + [[0.9, 0.9, NAN]] * 5]
        gen_len = [[[16] * 19 + [8] * 5]]
        row = safe(pmass, gen_len=gen_len, fork=[0, 4, 16])
        assert row["next_lower"] == pytest.approx(0.05 ** (1 / 19))
        assert row["reason"] == "too few prompts: 24, some ended early, give 0.85; 37 such would do"
        assert row["prompts_needed"] == 37
        # With the same share that ends early, 29 of 37 are observed to the end, and 28 of 36.
        assert 37 * 19 / 24 >= 29 > 36 * 19 / 24

    def test_the_reason_names_deaths_and_too_few_prompts(self):
        row = safe([alive(8, dead=1)])
        assert row["reason"] == "1 of 8 died (too few prompts as well: 29, all alive, would do)"

    @pytest.mark.parametrize("ended", ["censored", "alive"])
    def test_a_dose_probed_only_at_token_0_is_not_safe(self, ended):
        pmass = [[[0.9, NAN]] * 40] * 3
        row = safe(pmass, gen_len=np.full((1, 3, 40), 15), fork=[0, 16], ended=ended)
        assert np.isnan(row["safe_dose"])
        assert np.isnan(row["observed_dose"])
        if ended == "alive":
            assert row["reason"] == "40 of 40 count as alive and were probed at token 0 only"

    def test_a_single_rollout_alive_and_probed_only_at_token_0_fails_the_dose(self):
        pmass = [[[0.9, NAN]] + [[0.9, 0.9]] * 39]
        gen_len = [[[15] + [16] * 39]]
        row = safe(pmass, gen_len=gen_len, fork=[0, 16], ended="alive")
        assert np.isnan(row["safe_dose"])
        assert row["reason"] == "1 of 40 count as alive and were probed at token 0 only"
        # By default it is censored, and the bound is that of the other rollouts.
        row = safe(pmass, gen_len=gen_len, fork=[0, 16])
        assert row["safe_dose"] == 0
        assert row["lower"] == pytest.approx(0.05 ** (1 / 39))

    def test_a_window_whose_only_fork_is_token_0_has_no_safe_dose(self):
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
    def test_a_direction_that_was_not_run_has_no_row(self, alphas, sides):
        ds = small_sweep([[alive(40)] * len(alphas)], fork=[0, 16])
        ds = ds.assign_coords(c_star=("cell", [2.0]), alpha=np.array(alphas, dtype=float))
        assert safe_dose(ds, by=None)["toward"].tolist() == list(sides)

    def test_doses_that_were_not_run_are_skipped(self):
        row = safe([alive(40), [[NAN, NAN]] * 40, alive(40)])
        assert row["safe_dose"] == 2

    def test_each_cell_has_its_coefficient(self):
        ds = small_sweep([[alive(40)] * 2, [alive(40, 1)] * 2], fork=[0, 16])
        ds = ds.assign_coords(c_star=("cell", [2.0, -3.5]))
        (row,) = safe_dose(ds, by=None, survive=0.8).to_dict("records")
        assert (row["safe_dose"], row["coeff"]) == (1, "cell0 2, cell1 -3.5")

    def test_the_error_rate_holds_for_any_number_of_doses(self):
        # True survival equals the claimed share at every dose: any claim is an error.
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
    def test_invalid_arguments_are_rejected(self, sample_ds, argument, message):
        with pytest.raises(UsageError, match=message):
            safe_dose(sample_ds, **argument)
