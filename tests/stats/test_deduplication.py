from __future__ import annotations

import gc
import json
import tracemalloc

import dask.array
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from isoklx.errors import DatasetError
from isoklx.stats.deduplication import (
    compare,
    count_cells,
    count_trajectories,
    distinct,
    first_of_repeats,
    repeats,
)

OTHER_NAN = np.array([0x7FC00001], dtype="u4").view("f4")[0]


def sweep(kl, pmass=None, **labels) -> xr.Dataset:
    """Build a cell for each row of numbers, named a, b, c, ..."""
    kl = np.array(kl, dtype="f4")
    pmass = np.full((len(kl), 1), np.nan) if pmass is None else np.array(pmass)
    text = {"model": "m", "method": "pca", "window": 2} | labels
    columns = {name: ("cell", np.broadcast_to(label, len(kl))) for name, label in text.items()}
    columns["run_id"] = ("cell", list("abcdefghijklmnop")[: len(kl)])
    ran = np.where(np.isnan(kl).all(axis=1), np.nan, kl.shape[1])
    return xr.Dataset(
        {
            "kl": (("cell", "alpha", "prompt", "token"), kl[:, None, None]),
            "pmass_eval": (("cell", "alpha", "prompt", "fork"), pmass[:, None, None].astype("f4")),
            "gen_len": (("cell", "alpha", "prompt"), ran[:, None, None]),
        },
        {**columns, "alpha": [0.0]},
    ).set_xindex("run_id")


def repeated_cells(ds: xr.Dataset) -> list[list[str]]:
    """List the sets of cells that are duplicates at any dose, in the order of their first cell."""
    return sorted(map(list, compare(ds).groups))


def most_trajectories(ds: xr.Dataset) -> tuple[int, int]:
    counts = count_trajectories(ds).max()
    return counts["n"].item(), counts["n_distinct"].item()


def pair_by_pair(ds: xr.Dataset) -> list[list[str]]:
    """Compare every cell with every other one, by the definition."""
    same: dict[str, list[str]] = {}
    cells = [ds.isel(cell=i) for i in range(ds.sizes["cell"])]
    for cell in cells:
        twins = [
            other.run_id.item()
            for other in cells
            if all(cell[name] == other[name] for name in ("model", "method", "window"))
            and all(
                np.array_equal(cell[name], other[name], equal_nan=True)
                for name in ("kl", "pmass_eval")
            )
            and (cell.kl.notnull().any() or cell.pmass_eval.notnull().any())
        ]
        same.setdefault(twins[0] if twins else cell.run_id.item(), twins)
    return sorted(twins for twins in same.values() if len(twins) > 1)


def test_duplicates_of_the_measured_sweep_agree_with_the_oracle(real, oracle):
    counts = json.loads((oracle / "counts.json").read_text())
    assert repeated_cells(real) == counts["identical_cells"]
    firsts = [group[0] for group in counts["identical_cells"]]
    assert distinct(real).run_id.values.tolist() == firsts
    assert most_trajectories(real) == (counts["n_trajectories"]["1.0"], 8 * len(firsts))


numbers = st.sampled_from([0.0, -0.0, 1.0, np.nan, OTHER_NAN])


@pytest.mark.slow
@settings(max_examples=40)
@given(
    st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=6),
    st.lists(st.sampled_from(["pca", "sae"]), min_size=6, max_size=6),
)
def test_duplicates_equal_those_of_a_comparison_of_all_pairs(rows, methods):
    kl, pmass = np.array(rows)[:, :2], np.array(rows)[:, 2:]
    ds = sweep(kl, pmass, method=methods[: len(rows)])
    assert repeated_cells(ds) == pair_by_pair(ds)
    chunks = {"cell": 2, "token": 1}
    assert repeated_cells(ds.chunk(chunks)) == repeated_cells(ds)


@pytest.mark.parametrize("label", ["model", "method", "window"])
def test_cells_with_different_labels_are_not_duplicates(label):
    assert repeated_cells(sweep([[1, 2], [1, 2]])) == [["a", "b"]]
    assert repeated_cells(sweep([[1, 2], [1, 2]], **{label: ["1", "2"]})) == []


def test_cells_with_different_pmass_are_not_duplicates():
    assert repeated_cells(sweep([[1, 2]] * 3, pmass=[[0.5], [0.6], [0.5]])) == [["a", "c"]]


def test_neither_the_bits_of_nan_nor_the_sign_of_zero_matter():
    assert repeated_cells(sweep([[0.0, np.nan], [-0.0, OTHER_NAN]])) == [["a", "b"]]


def test_a_cell_that_was_only_calibrated_is_not_a_duplicate():
    ds = sweep([[np.nan, np.nan]] * 2 + [[1, 2]] * 2)
    assert repeated_cells(ds) == [["c", "d"]]
    assert distinct(ds).run_id.values.tolist() == ["a", "b", "c"]
    assert count_cells(ds) == (4, 3)
    assert most_trajectories(ds) == (2, 1)


def test_cells_without_kl_are_compared_by_pmass():
    ds = sweep([[np.nan, np.nan]] * 3, pmass=[[0.5], [0.5], [0.6]])
    assert repeated_cells(ds) == [["a", "b"]]


def test_equal_numbers_in_different_blocks_are_not_duplicates():
    ds = sweep([[1, np.nan], [np.nan, 1]])
    assert repeated_cells(ds.chunk(token=1)) == []


def test_the_first_of_each_group_is_kept_in_order():
    ds = sweep([[1, 2], [3, 4], [1, 2], [5, 6], [3, 4]])
    kept = distinct(ds)
    xr.testing.assert_identical(kept, ds.isel(cell=[0, 1, 3]))
    assert repeated_cells(kept) == []
    assert kept.sel(run_id="d").kl.values.tolist() == [[[5, 6]]]


def test_only_the_selection_is_compared(sample_ds):
    alike = sweep([[1, 2], [1, 3]]).isel(token=[0])
    assert repeated_cells(alike) == [["a", "b"]]
    assert count_trajectories(sample_ds.sel(alpha=1.0)).n <= count_trajectories(sample_ds).n.max()


def test_a_single_cell_is_not_a_duplicate(sample_ds):
    one = sample_ds.isel(cell=0)
    assert repeated_cells(one) == []
    assert count_cells(one) == (1, 1)
    xr.testing.assert_identical(distinct(one), one)
    assert most_trajectories(one) == (sample_ds.sizes["prompt"],) * 2


@pytest.mark.parametrize("dims", [["cell"], ["alpha", "prompt", "token", "fork"], ["fork"]])
def test_empty_dimensions_are_accepted(dims):
    empty = sweep([[1, 2], [1, 2]]).isel({dim: [] for dim in dims})
    expected = [["a", "b"]] if dims == ["fork"] else []
    assert repeated_cells(empty) == repeated_cells(empty.chunk()) == expected
    n = empty.sizes["cell"]
    assert count_cells(empty) == (n, n - len(expected))
    assert distinct(empty).sizes["cell"] == n - len(expected)


def test_a_dataset_that_is_not_a_sweep_is_rejected():
    with pytest.raises(DatasetError, match="it has no run_id, alpha, model, method, window, kl"):
        distinct(xr.Dataset())


def doses(*cells, **labels) -> xr.Dataset:
    """Build a cell for each list of numbers, one per dose; NaN means not run."""
    ds = sweep([[np.nan]] * len(cells), **labels)
    ds = ds.drop_vars(["kl", "gen_len", "pmass_eval", "alpha"])
    values = np.array(cells, dtype="f4")
    return ds.assign(
        kl=(("cell", "alpha", "prompt", "token"), values[:, :, None, None]),
        pmass_eval=(("cell", "alpha", "prompt", "fork"), values[:, :, None, None] * 0 + 0.5),
        gen_len=(("cell", "alpha", "prompt"), np.where(np.isnan(values), np.nan, 1)[:, :, None]),
    ).assign_coords(alpha=np.arange(values.shape[1]) / 2)


NAN = np.nan


def test_duplicates_are_found_at_each_dose_independently():
    # The second cell has more doses; the third is a rerun with other values at the last dose.
    ds = doses([1, NAN, 2], [1, 5, 2], [1, NAN, 3])
    assert repeats(ds).values.tolist() == [["", "", ""], ["a", "", "a"], ["a", "", ""]]
    assert compare(ds).groups == {("a", "b", "c"): [0.0], ("a", "b"): [1.0]}
    for alphas in ([0], [1], [2], [0, 2]):
        some = ds.isel(alpha=alphas)
        xr.testing.assert_identical(repeats(some), repeats(ds).isel(alpha=alphas))
    assert count_trajectories(ds).n.values.tolist() == [3, 1, 3]
    assert count_trajectories(ds).n_distinct.values.tolist() == [1, 1, 2]
    assert count_cells(ds) == (3, 3)


def test_distinct_removes_duplicates_by_dose():
    ds = doses([1, NAN, 2], [1, 5, 2], [1, NAN, NAN])
    for sweep_ds in (ds, ds.chunk(cell=1, alpha=2)):
        kept = distinct(sweep_ds)
        assert kept.run_id.values.tolist() == ["a", "b"]
        np.testing.assert_array_equal(kept.kl.squeeze(), [[1, NAN, 2], [NAN, 5, NAN]])
        np.testing.assert_array_equal(kept.gen_len.squeeze(), [[1, NAN, 1], [NAN, 1, NAN]])
        assert kept.kl.dtype == ds.kl.dtype
        assert kept.kl.dims == ds.kl.dims
        assert not (repeats(kept) != "").any()


def test_only_cells_with_equal_labels_are_compared():
    ds = doses([1, 2], [1, 2], [1, 2], seed=[0, 1, 1])
    assert repeats(ds, by="seed").values.tolist() == [["", ""], ["", ""], ["b", "b"]]
    assert first_of_repeats(ds, ["seed"]).values.tolist() == [[True] * 2] * 2 + [[False] * 2]
    assert distinct(ds, by="seed").run_id.values.tolist() == ["a", "b"]
    assert count_trajectories(ds, by="seed").n_distinct.values.tolist() == [2, 2]


def test_texts_are_removed_with_the_numbers():
    ds = doses([1, 2], [1, 3]).assign(
        gen_text=(("cell", "alpha", "prompt"), np.array([["x", "y"], ["x", "z"]])[..., None])
    )
    assert distinct(ds).gen_text.squeeze().values.tolist() == [["x", "y"], ["", "z"]]


class TestLazily:
    @pytest.fixture
    def read(self) -> list[int]:
        """Cells whose KL was read, in order."""
        return []

    @pytest.fixture
    def lazy(self, read) -> xr.Dataset:
        """Build sixteen cells with 128 KiB of KL each; all but four differ in pmass."""
        pmass = np.arange(16.0)
        pmass[[3, 5, 7]] = pmass[2]

        def block(block_info):
            cell = block_info[None]["chunk-location"][0]
            read.append(cell)
            return np.full((1, 1, 1, 2**15), cell % 3, dtype="f4")

        kl = dask.array.map_blocks(
            block, chunks=((1,) * 16, (1,), (1,), (2**15,)), meta=np.empty((0,) * 4, "f4")
        )
        ds = sweep(np.zeros((16, 1)), pmass[:, None]).drop_vars("kl")
        return ds.assign(kl=(("cell", "alpha", "prompt", "token"), kl))

    def test_kl_is_read_once_and_only_for_cells_with_equal_pmass(self, lazy, read):
        assert repeated_cells(lazy) == [["c", "f"]]
        assert sorted(read) == [2, 3, 5, 7]

    def test_blocks_are_released_after_use(self, lazy):
        alike = lazy.assign(pmass_eval=lazy["pmass_eval"] * 0)
        gc.collect()  # garbage of other tests
        tracemalloc.start()
        with dask.config.set(scheduler="synchronous"):
            assert len(repeated_cells(alike)) == 3
        assert tracemalloc.get_traced_memory()[1] < lazy["kl"].nbytes / 2
        tracemalloc.stop()

    def test_distinct_stays_lazy(self, sample_ds):
        kept = distinct(sample_ds.chunk(cell=1, alpha=1))
        assert kept["kl"].chunks is not None
        xr.testing.assert_identical(kept.compute(), distinct(sample_ds))
