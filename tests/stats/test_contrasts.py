import numpy as np
import pandas as pd
import pytest
from scipy.stats import CensoredData, binomtest, logrank

from isoklx.errors import DatasetError, UsageError
from isoklx.stats.contrasts import cell_contrasts, survival_contrast
from isoklx.stats.dose_response import dose_response
from isoklx.stats.survival import survival_summary
from tests.small_sweeps import small_sweep

NAN = np.nan
FORKS = np.array([0, 1, 2, 4, 8, 16, 32])


def sweep(seed=0, n_prompt=12, methods=("a", "b", "c"), **options):
    """Build cells with two doses whose trajectories die at random, later in later methods."""
    rng = np.random.default_rng(seed)
    shape = (len(methods), 2, n_prompt, FORKS.size)
    pmass = rng.random(shape) ** (0.2 / np.arange(1, 1 + len(methods)))[:, None, None, None]
    return small_sweep(pmass, fork=FORKS, method=list(methods), **options)


def bounds(rows):
    return rows[["end_lower", "end_upper", "mean_lower", "mean_upper"]]


def test_differences_equal_those_of_the_summaries():
    ds = sweep()
    rows = survival_contrast(ds, threshold=[0.5, 0.75])
    summary = survival_summary(ds, threshold=[0.5, 0.75], by="method")
    keyed = summary.set_index(["threshold", "alpha", "method"])
    assert len(rows) == 2 * 2 * 3
    for row in rows.itertuples():
        first, second = (
            keyed.loc[(row.threshold, row.alpha, side)] for side in (row.first, row.second)
        )
        assert row.end_difference == pytest.approx(first.end_survival - second.end_survival)
        assert row.mean_difference == pytest.approx(first.restricted_mean - second.restricted_mean)
        assert (row.n, row.horizon) == (first.n + second.n, 32)


def test_doses_are_compared_with_all_cells_pooled():
    ds = sweep()
    (row,) = survival_contrast(ds, by="alpha").itertuples()
    first, second = survival_summary(ds).itertuples()
    assert (row.first, row.second, row.n) == (0.0, 1.0, 72)
    assert row.end_difference == pytest.approx(first.end_survival - second.end_survival)
    assert row.mean_difference == pytest.approx(first.restricted_mean - second.restricted_mean)


def test_the_logrank_test_equals_scipys():
    ds = sweep(methods=("a", "b"))
    for row in survival_contrast(ds).itertuples():
        samples = []
        for cell in (0, 1):
            dead = ds.pmass_eval.values[cell, int(row.alpha)] < 0.75
            samples.append(
                CensoredData(
                    uncensored=FORKS[dead.argmax(axis=1)[dead.any(axis=1)]],
                    right=np.full((~dead.any(axis=1)).sum(), FORKS[-1]),
                )
            )
        expected = logrank(*samples)
        assert row.logrank == pytest.approx(expected.statistic, abs=1e-9)
        assert row.p_value == pytest.approx(expected.pvalue, abs=1e-9)


def test_the_interval_contains_the_difference_and_has_a_width():
    rows = survival_contrast(sweep())
    for name in ("end", "mean"):
        assert (rows[f"{name}_lower"] < rows[f"{name}_difference"]).all()
        assert (rows[f"{name}_difference"] < rows[f"{name}_upper"]).all()


def test_without_events_the_interval_has_the_width_of_both_sides():
    alive = [[[[0.9, 0.9]] * 8]] * 2
    (row,) = survival_contrast(small_sweep(alive, fork=[0, 16], method=["a", "b"])).itertuples()
    (side,) = survival_summary(small_sweep(alive[:1], fork=[0, 16])).itertuples()
    unknown = 1 - side.end_lower
    assert (row.end_difference, row.end_lower, row.end_upper) == (0, -unknown, unknown)
    assert row.mean_upper == pytest.approx(16 * unknown)
    assert np.isnan([row.p_value, row.p_holm]).all()
    assert row.n_prompts == 8


def test_agreement_by_prompt_narrows_the_interval():
    fork = np.arange(0, 40, 4)
    died = np.random.default_rng(0).integers(0, 12, (24, 1))
    other = np.random.default_rng(1).permutation(died)
    widths = []
    for second in (died, other):
        pmass = [[np.where(4 * (each + 1) <= fork, 0.1, 0.9)] for each in (died, second)]
        rows = survival_contrast(small_sweep(pmass, fork=fork, method=["a", "b"]))
        widths.append(bounds(rows).to_numpy()[0, 1::2] - bounds(rows).to_numpy()[0, ::2])
    paired, shuffled = widths
    assert (paired > 0).all()
    assert (paired < 0.8 * shuffled).all()


def test_without_censoring_the_interval_equals_newcombes():
    # Nine of ten survive on one side, and six of these nine on the other.
    alive = np.array([[1] * 9 + [0], [1] * 6 + [0] * 4])
    pmass = np.where(alive[:, None, :, None], 0.9, [0.9, 0.1])
    (row,) = survival_contrast(small_sweep(pmass, fork=[0, 8], method=["a", "b"])).itertuples()
    table = (6 * 1 - 0 * 3 - 10 / 2) / (9 * 1 * 6 * 4) ** 0.5
    low, high = zip(*(binomtest(n, 10).proportion_ci(0.95, "exact") for n in (9, 6)), strict=True)
    below = np.array([0.9 - low[0], high[1] - 0.6])
    above = np.array([high[0] - 0.9, 0.6 - low[1]])
    for side, found in ((below, 0.3 - row.end_lower), (above, row.end_upper - 0.3)):
        assert found**2 == pytest.approx(side @ side - 2 * table * side.prod(), abs=1e-9)


def test_p_values_are_adjusted_for_all_rows_of_the_table():
    rows = survival_contrast(sweep(), threshold=[0.5, 0.75])
    known = rows.p_value.notna()
    assert (rows.p_holm[known] >= rows.p_value[known]).all()
    smallest = rows.p_value.idxmin()
    assert rows.p_holm[smallest] == pytest.approx(min(1, known.sum() * rows.p_value[smallest]))


@pytest.mark.parametrize("dim", ["cell", "prompt"])
def test_the_order_of_cells_and_prompts_changes_nothing(dim):
    ds = sweep()
    shuffled = ds.isel({dim: np.random.default_rng(0).permutation(ds.sizes[dim])})
    pd.testing.assert_frame_equal(survival_contrast(shuffled), survival_contrast(ds))


def test_duplicates_count_once_by_default():
    ds = sweep(methods=("a", "b"))
    twice = ds.isel(cell=[0, 0, 1, 1]).reset_index("run_id")
    twice = twice.assign_coords(run_id=("cell", list("wxyz")))
    once, again = survival_contrast(ds), survival_contrast(twice)
    pd.testing.assert_frame_equal(again.drop(columns="n"), once.drop(columns="n"))
    assert (again.n == 2 * once.n).all()
    every = survival_contrast(twice, distinct=False)
    assert (every.p_value < once.p_value).any()


def test_groups_are_compared_at_the_smallest_horizon():
    ds = sweep(methods=("a", "b"), window=[8, 32])
    ds["pmass_eval"] = ds.pmass_eval.where(ds.fork <= ds.window)
    rows = survival_contrast(ds)
    assert (rows.horizon == 8).all()
    short = survival_contrast(ds.sel(fork=slice(0, 8)).assign_coords(window=("cell", [8, 8])))
    pd.testing.assert_frame_equal(
        rows.drop(columns=["logrank", "p_value", "p_holm"]),
        short.drop(columns=["logrank", "p_value", "p_holm"]),
    )


def test_doses_are_compared_at_the_smallest_horizon():
    ds = sweep(methods=("a", "b"), window=[8, 32])
    ds["pmass_eval"] = ds.pmass_eval.where(
        (ds.fork <= ds.window) & ~((ds.seed > 0) & (ds.alpha > 0))
    )
    (row,) = survival_contrast(ds, by="alpha").itertuples()
    assert row.horizon == 8


def test_prompts_without_observations_do_not_count():
    ds = sweep(methods=("a", "b"))
    padded = ds.reindex(prompt=np.arange(100))
    pd.testing.assert_frame_equal(survival_contrast(padded), survival_contrast(ds))


def test_a_single_prompt_gives_a_wide_interval():
    rows = survival_contrast(sweep(n_prompt=1))
    assert ((rows.end_upper - rows.end_lower) > 0.9).all()


def test_kl_is_compared_in_tokens(sample_ds):
    rows = survival_contrast(sample_ds, "method", "kl", 5)
    assert (rows.horizon == 64).all()
    assert rows.mean_difference.abs().max() <= 64


def test_dask_and_numpy_agree(sample_ds):
    lazy = sample_ds.chunk(cell=1, prompt=3)
    pd.testing.assert_frame_equal(survival_contrast(lazy), survival_contrast(sample_ds))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"by": "methods"}, "label not found; available: alpha, run_id, model,"),
        ({"threshold": 2}, "threshold of pmass_eval must be"),
    ],
)
def test_invalid_arguments_are_rejected(arguments, message):
    with pytest.raises(UsageError, match=message):
        survival_contrast(sweep(), **arguments)


def test_a_single_group_is_rejected():
    with pytest.raises(DatasetError, match="no two groups to compare by 'layer'; available: 3"):
        survival_contrast(sweep(), by="layer")


@pytest.mark.parametrize("ended", ["censored", "alive"])
@pytest.mark.parametrize(("metric", "threshold"), [("pmass_eval", [0.5, 0.75]), ("kl", [2.0])])
def test_pairs_of_cells_equal_separate_contrasts(sample_ds, ended, metric, threshold):
    ds = sample_ds.isel(prompt=[3, 0, 5, 1])
    ran = ds[metric].where((ds["run_id"] != ds["run_id"][5]) | (ds["alpha"] != 1))
    ds = ds.assign({metric: ran})
    # The first cell of each pair is also first by name.
    pairs = [(0, 1), (2, 5), (4, 11)]
    found = cell_contrasts(ds, pairs, metric, threshold, ended)
    for pair, rows in zip(pairs, found, strict=True):
        alone = survival_contrast(
            ds.isel(cell=list(pair)), "run_id", metric, threshold, distinct=False, ended=ended
        )
        assert len(rows) == len(alone)
        for expected in alone.to_dict("records"):
            row = rows[expected["threshold"], expected["alpha"]]
            for name in set(row) - {"first", "second"}:
                np.testing.assert_equal(row[name], expected[name], err_msg=name)
    assert [len(rows) for rows in found] == [n * len(threshold) for n in (6, 5, 6)]


def test_a_sweep_without_observations_is_rejected():
    ds = small_sweep([[[[NAN, NAN]]]] * 2, fork=[0, 8])
    with pytest.raises(DatasetError, match="no cell of this sweep has pmass_eval"):
        survival_contrast(ds)


def test_survival_is_not_compared_beyond_the_last_trajectory_at_risk():
    """Rollouts of the second dose end before their second fork."""
    whole, short = [[0.9] * 3] * 4, [[0.9, NAN, NAN]] * 3 + [[0.1, NAN, NAN]]
    lengths = [[[48] * 4, [15] * 4]]
    ds = small_sweep([[whole, short]], fork=[0, 16, 48], gen_len=lengths)
    (row,) = survival_contrast(ds, by="alpha").to_dict("records")
    assert row["horizon"] == 48
    assert np.isfinite(row["logrank"])
    for name in ("end", "mean"):
        for part in ("difference", "lower", "upper"):
            assert np.isnan(row[f"{name}_{part}"])
    (alive,) = survival_contrast(ds, by="alpha", ended="alive").to_dict("records")
    assert alive["end_difference"] == pytest.approx(1 / 4)


def test_sides_with_different_forks_are_compared_at_the_end_of_their_window():
    """Both ran to token 100; the last fork is at 100 in one cell and at 96 in the other."""
    pmass = [[[[0.9, 0.1, NAN], [0.9, 0.9, NAN]]], [[[0.9, NAN, 0.9]] * 2]]
    ds = small_sweep(pmass, fork=[0, 96, 100], window=100, method=["a", "b"])
    (row,) = survival_contrast(ds, by="method").to_dict("records")
    assert row["end_difference"] == pytest.approx(-1 / 2)
    assert row["mean_difference"] == pytest.approx(-4 / 2)
    assert row["end_lower"] < -1 / 2 < row["end_upper"]


def test_the_held_out_kl_of_both_sides_is_reported(sample_ds):
    ds = sample_ds.sel(alpha=[0.0, 1.0, 2.0])
    doses = dose_response(ds)
    rows = survival_contrast(ds).to_dict("records")
    assert len(rows) == 3 * 3
    for row in rows:
        for side in ("first", "second"):
            at = doses.sel({"method": row[side], "alpha": row["alpha"]})
            found = [row[f"{side}_kl"], row[f"{side}_kl_lower"], row[f"{side}_kl_upper"]]
            assert found == pytest.approx([at.heldout_kl.item(), *at.heldout_kl_ci.values])
    pooled = dose_response(ds, by=None).heldout_kl
    for row in survival_contrast(ds, by="alpha").to_dict("records"):
        for side in ("first", "second"):
            assert row[f"{side}_kl"] == pytest.approx(pooled.sel(alpha=row[side]).item())


def test_without_kl_the_held_out_kl_is_nan():
    ds = small_sweep(np.full((2, 1, 4, 2), 0.9), fork=[0, 8], method=["a", "b"])
    (row,) = survival_contrast(ds).to_dict("records")
    assert np.isnan([row["first_kl"], row["second_kl_upper"]]).all()
