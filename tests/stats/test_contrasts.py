import numpy as np
import pandas as pd
import pytest
from scipy.stats import CensoredData, logrank

from isoklx.errors import DatasetError, UsageError
from isoklx.stats.contrasts import survival_contrast
from isoklx.stats.survival import survival_summary
from tests.small_sweeps import small_sweep

NAN = np.nan
FORKS = np.array([0, 1, 2, 4, 8, 16, 32])


def sweep(seed=0, n_prompt=12, methods=("a", "b", "c"), **options):
    """Cells of two doses whose trajectories die at random, later in later methods."""
    rng = np.random.default_rng(seed)
    shape = (len(methods), 2, n_prompt, FORKS.size)
    pmass = rng.random(shape) ** (0.2 / np.arange(1, 1 + len(methods)))[:, None, None, None]
    return small_sweep(pmass, fork=FORKS, method=list(methods), **options)


def bounds(rows):
    return rows[["end_lower", "end_upper", "mean_lower", "mean_upper"]]


def test_differences_are_those_of_the_summaries():
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


def test_the_logrank_test_is_that_of_scipy():
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


def test_the_interval_covers_the_difference_and_is_a_function_of_the_seed():
    rows = survival_contrast(sweep(), replicates=300)
    assert (rows.end_lower <= rows.end_difference).all()
    assert (rows.end_difference <= rows.end_upper).all()
    assert (rows.mean_lower < rows.mean_upper).all()
    pd.testing.assert_frame_equal(rows, survival_contrast(sweep(), replicates=300))
    other = survival_contrast(sweep(), replicates=300, seed=1)
    assert not bounds(rows).equals(bounds(other))


@pytest.mark.parametrize("dim", ["cell", "prompt"])
def test_the_order_of_cells_and_prompts_changes_nothing(dim):
    ds = sweep()
    shuffled = ds.isel({dim: np.random.default_rng(0).permutation(ds.sizes[dim])})
    pd.testing.assert_frame_equal(
        survival_contrast(shuffled, replicates=50), survival_contrast(ds, replicates=50)
    )


def test_prompts_are_drawn_for_both_sides_at_once():
    # At every prompt the second method dies one fork later: drawn together, that never changes.
    fork = np.arange(0, 40, 4)
    died = np.random.default_rng(0).integers(0, 8, (12, 1))
    pmass = [[np.where(4 * (died + later) <= fork, 0.1, 0.9)] for later in (0, 1)]
    rows = survival_contrast(small_sweep(pmass, fork=fork, method=["a", "b"]))
    for name in ("mean_difference", "mean_lower", "mean_upper"):
        assert rows[name].tolist() == pytest.approx([-4])


def test_repeated_cells_count_once_unless_told_otherwise():
    ds = sweep(methods=("a", "b"))
    twice = ds.isel(cell=[0, 0, 1, 1]).reset_index("run_id")
    twice = twice.assign_coords(run_id=("cell", list("wxyz")))
    once, again = survival_contrast(ds), survival_contrast(twice)
    pd.testing.assert_frame_equal(again.drop(columns="n"), once.drop(columns="n"))
    assert (again.n == 2 * once.n).all()
    every = survival_contrast(twice, distinct=False)
    assert (every.p_value < once.p_value).any()


def test_groups_are_compared_where_all_were_followed():
    ds = sweep(methods=("a", "b"), window=[8, 32])
    ds["pmass_eval"] = ds.pmass_eval.where(ds.fork <= ds.window)
    rows = survival_contrast(ds)
    assert (rows.horizon == 8).all()
    short = survival_contrast(ds.sel(fork=slice(0, 8)).assign_coords(window=("cell", [8, 8])))
    pd.testing.assert_frame_equal(
        rows.drop(columns=["logrank", "p_value"]), short.drop(columns=["logrank", "p_value"])
    )


def test_doses_are_compared_where_all_were_followed():
    ds = sweep(methods=("a", "b"), window=[8, 32])
    ds["pmass_eval"] = ds.pmass_eval.where(
        (ds.fork <= ds.window) & ~((ds.seed > 0) & (ds.alpha > 0))
    )
    (row,) = survival_contrast(ds, by="alpha").itertuples()
    assert row.horizon == 8


def test_prompts_that_no_cell_of_the_selection_has_are_not_drawn():
    ds = sweep(methods=("a", "b"))
    padded = ds.reindex(prompt=np.arange(100))
    pd.testing.assert_frame_equal(survival_contrast(padded), survival_contrast(ds))


def test_a_single_prompt_gives_no_interval():
    rows = survival_contrast(sweep(n_prompt=1))
    assert rows.end_difference.notna().all()
    assert bounds(rows).isna().all(axis=None)


def test_kl_is_compared_in_tokens(sample_ds):
    rows = survival_contrast(sample_ds, "method", "kl", 5, replicates=20)
    assert (rows.horizon == 64).all()
    assert rows.mean_difference.abs().max() <= 64


def test_dask_and_numpy_agree(sample_ds):
    lazy = sample_ds.chunk(cell=1, prompt=3)
    pd.testing.assert_frame_equal(
        survival_contrast(lazy, replicates=20), survival_contrast(sample_ds, replicates=20)
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"by": "methods"}, "cannot group by 'methods'; give one of alpha, run_id, model,"),
        ({"by": "layer"}, "no two groups to compare by 'layer'; this sweep has 3"),
        ({"replicates": 0}, "replicates=0: give at least 1"),
        ({"threshold": 2}, "threshold 2 for pmass_eval"),
    ],
)
def test_what_cannot_be_compared_is_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        survival_contrast(sweep(), **arguments)


def test_nothing_observed_is_refused():
    ds = small_sweep([[[[NAN, NAN]]]] * 2, fork=[0, 8])
    with pytest.raises(DatasetError, match="no cell of this sweep has pmass_eval"):
        survival_contrast(ds)
