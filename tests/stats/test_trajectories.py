from __future__ import annotations

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from isoklx import schema
from isoklx.errors import DatasetError, UsageError
from isoklx.stats import along
from isoklx.stats.deduplication import distinct
from isoklx.stats.targets import crossed, share_above
from isoklx.stats.trajectories import (
    bands,
    default_roll,
    normalise_kl,
    pmass_on_tokens,
    quantile,
    smooth,
)

EVERY = {
    "smooth": lambda ds: smooth(ds["kl"], 9),
    "quantile": lambda ds: quantile(ds["kl"], [0.1, 0.5, 0.9]),
    "bands": lambda ds: bands(ds, roll=9),
    "crossed": crossed,
    "share_above": share_above,
    "normalise_kl": normalise_kl,
    "pmass_on_tokens": pmass_on_tokens,
}
every = pytest.mark.parametrize("function", EVERY.values(), ids=EVERY)

SELECTIONS = {
    "one cell": lambda ds: ds.isel(cell=0),
    "one alpha": lambda ds: ds.sel(alpha=1.0),
    "one trajectory": lambda ds: ds.isel(cell=0, alpha=2, prompt=1),
    "one method": lambda ds: ds.query(cell="method == 'pca'"),
    "some tokens": lambda ds: ds.sel(token=slice(10, 50, 3)),
    "no cell": lambda ds: ds.isel(cell=[]),
    "no alpha": lambda ds: ds.isel(alpha=[]),
    "nothing swept": lambda ds: ds.isel(alpha=[], prompt=[], token=[], fork=[]),
}
CHUNKS = [{"cell": 1, "alpha": 1}, {"cell": 3, "prompt": 3, "token": 20, "fork": 5}]


def refuse(*args, **kwargs):
    raise AssertionError("something was computed")


@pytest.fixture
def ds(sample_ds) -> xr.Dataset:
    """The sample with a gap inside a trajectory, and a trajectory that was not run."""
    kl = sample_ds["kl"].copy()
    kl[0, 1, 0, 7] = np.nan
    kl[1, 2, 3] = np.nan
    return sample_ds.assign(kl=kl)


class TestOracle:
    """Agreement with numbers that plain loops computed from the measured sweep."""

    @pytest.mark.parametrize("roll", [1, 65])
    def test_bands_of_the_older_script_agree(self, real, oracle, roll):
        expected = xr.load_dataset(oracle / "bands.nc").kl_quantile.sel(roll=roll)
        found = bands(real, expected["quantile"].values, roll, edges="repeat", distinct=False)
        found = found.transpose(*expected.dims)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-12)

    @pytest.mark.parametrize("roll", [1, 9, 65])
    @pytest.mark.parametrize("which", ["all", "distinct"])
    def test_bands_agree(self, real, oracle, roll, which):
        expected = xr.load_dataset(oracle / "bands_shrink.nc").kl_quantile
        expected = expected.sel(roll=roll, which=which)
        levels = expected["quantile"].values
        found = bands(real, levels, roll, distinct=which == "distinct").transpose(*expected.dims)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-12)
        if roll == 65:
            assert default_roll(512) == roll
            by_itself = bands(real, levels, distinct=which == "distinct")
            np.testing.assert_array_equal(by_itself.transpose(*expected.dims), found)

    def test_the_share_of_tokens_above_the_target_agrees(self, real, oracle):
        doses = pd.read_csv(oracle / "doses.csv").query("method != 'all'")
        expected = doses.drop_duplicates(["method", "alpha"]).set_index(["method", "alpha"])
        lengths = real["kl"].notnull().sum("token")
        above = (share_above(real) * lengths).groupby("method").sum(["cell", "prompt"])
        found = above / lengths.groupby("method").sum(["cell", "prompt"])
        found = found.to_series().reindex(expected.index)
        np.testing.assert_allclose(found, expected["share_above"], rtol=1e-12)

    def test_the_share_of_trajectories_that_crossed_agrees(self, real, oracle):
        expected = xr.load_dataset(oracle / "bands.nc").fraction_ever_above_1_nat
        found = crossed(real).mean(["cell", "prompt"])
        np.testing.assert_allclose(found, expected, rtol=1e-12)

    def test_pmass_on_tokens_agrees(self, real, oracle):
        expected = xr.load_dataset(oracle / "pmass_interp.nc")
        found = pmass_on_tokens(real).stack(trajectory=["cell", "prompt"], create_index=False)
        by_label = zip(found["run_id"].values, found["prompt"].values, strict=True)
        assert list(by_label) == list(
            zip(expected["cell"].values, expected["prompt"].values, strict=True)
        )
        found = found.transpose(*expected["pmass"].dims)
        np.testing.assert_allclose(found, expected["pmass"], rtol=0, atol=1e-7)


class TestEveryFunction:
    @every
    @pytest.mark.parametrize("chunks", CHUNKS, ids=["by cell", "across"])
    def test_dask_gives_the_same_numbers(self, ds, function, chunks):
        xr.testing.assert_identical(function(ds.chunk(chunks)).compute(), function(ds))

    @every
    def test_nothing_is_computed_while_a_lazy_result_is_built(self, ds, function):
        # Labels are read: they determine the number of groups.
        chunked = ds.chunk(CHUNKS[0]).assign_coords({name: ds[name] for name in schema.SPLIT})
        with dask.config.set(scheduler=refuse):
            assert function(chunked).chunks is not None
            assert function(ds.assign(kl=ds["kl"].chunk(cell=1))).chunks is not None

    @every
    @pytest.mark.parametrize("select", SELECTIONS.values(), ids=SELECTIONS)
    def test_a_selection_gives_the_same_numbers_as_the_sweep(self, ds, function, select):
        selected = select(ds)
        result = function(selected)
        xr.testing.assert_identical(function(selected.chunk()).compute(), result)
        for dim in result.dims:
            assert dim == "quantile" or result.sizes[dim] == selected.sizes[dim]

    @every
    def test_the_sweep_is_not_modified(self, ds, function):
        before = ds.copy(deep=True)
        function(ds)
        xr.testing.assert_identical(ds, before)

    @every
    def test_the_order_of_prompts_changes_nothing(self, ds, function):
        backwards = slice(None, None, -1)
        shuffled = function(ds.isel(prompt=backwards))
        if "prompt" in shuffled.dims:
            shuffled = shuffled.isel(prompt=backwards)
        xr.testing.assert_identical(shuffled, function(ds))

    @pytest.mark.parametrize("function", [bands, crossed, normalise_kl, pmass_on_tokens])
    def test_a_dataset_that_is_not_a_sweep_is_rejected(self, function):
        with pytest.raises(DatasetError, match="not an isoklx sweep: it has no"):
            function(xr.Dataset({"temperature": ("time", [20.0])}))

    @pytest.mark.parametrize("function", [bands, crossed, normalise_kl, pmass_on_tokens])
    def test_a_single_token_is_rejected(self, ds, function):
        with pytest.raises(UsageError, match=r"'token' of \w+ not found; available: .*alpha"):
            function(ds.isel(token=3))


@pytest.mark.parametrize("function", [smooth, lambda x: quantile(x, 0.5), bands])
def test_an_argument_that_is_not_an_array_is_rejected(function):
    with pytest.raises(UsageError, match=r"^expected xarray.DataArray, such as ds.kl, got int$"):
        function(3)


@pytest.mark.parametrize("function", [crossed, normalise_kl, pmass_on_tokens])
def test_an_argument_that_is_not_a_dataset_is_rejected(function, ds):
    with pytest.raises(
        DatasetError,
        match=r"^not an isoklx sweep: expected xarray.Dataset, got DataArray",
    ):
        function(ds["kl"])
    with pytest.raises(
        DatasetError,
        match=r"^not an isoklx sweep: expected xarray.Dataset, got int",
    ):
        function(3)


class TestSmooth:
    def test_labels_attributes_name_and_dtype_are_kept(self, ds):
        smoothed = smooth(ds["kl"].transpose("token", ...))
        xr.testing.assert_identical(
            smoothed.copy(data=np.zeros(smoothed.shape, "f4")),
            ds["kl"].transpose("token", ...).copy(data=np.zeros(smoothed.shape, "f4")),
        )
        assert smoothed.dtype == "f4"
        assert smoothed.attrs == ds["kl"].attrs

    def test_nan_stays_nan_and_does_not_spread(self, ds):
        np.testing.assert_array_equal(smooth(ds["kl"]).isnull(), ds["kl"].isnull())

    def test_integers_are_smoothed_as_floats(self):
        counts = xr.DataArray([0, 1, 0, 0], dims="token")
        np.testing.assert_allclose(smooth(counts, 3), [1 / 2, 1 / 3, 1 / 3, 0])

    @pytest.mark.parametrize("roll", [0, -3, 2.0, "65", None])
    def test_an_invalid_roll_is_rejected(self, ds, roll):
        with pytest.raises(UsageError, match=f"roll must be a positive integer, got {roll!r}"):
            smooth(ds["kl"], roll)

    def test_unknown_edges_are_rejected(self, ds):
        with pytest.raises(UsageError, match="edges must be one of shrink, repeat, got 'pad'"):
            smooth(ds["kl"], edges="pad")

    def test_a_missing_dimension_is_rejected(self, ds):
        with pytest.raises(
            UsageError, match="dimension 'token' of c_star not found; available: cell"
        ):
            smooth(ds["c_star"])


class TestQuantile:
    @pytest.mark.parametrize("q", [0.5, [0.95], [0.9, 0.1, 0.5]])
    @pytest.mark.parametrize("dim", ["prompt", ["cell", "prompt"], ("token", "cell")])
    @pytest.mark.filterwarnings("ignore:All-NaN slice encountered")
    def test_it_equals_xarrays_quantile(self, ds, q, dim):
        expected = ds["kl"].quantile(q, dim=dim, skipna=True, keep_attrs=True)
        found = quantile(ds["kl"], q, dim)
        xr.testing.assert_allclose(found, expected, rtol=1e-12)
        assert found.dims == expected.dims
        assert found.attrs == expected.attrs
        assert set(found.coords) == set(expected.coords)

    def test_no_trajectory_gives_nan_without_a_warning(self, ds):
        assert quantile(ds["kl"].where(False), 0.5).isnull().all()

    def test_pooling_many_cells_splits_only_the_tokens(self, ds, monkeypatch):
        kl = ds["kl"].chunk(cell=1, alpha=1)
        monkeypatch.setattr(along, "BLOCK", 20 * kl[:, 0, :, 0].nbytes)
        median = quantile(kl, 0.5)
        assert max(median.chunksizes["token"]) == 20
        assert set(median.chunksizes["alpha"]) == {1}
        np.testing.assert_array_equal(median, quantile(ds["kl"], 0.5))

    @pytest.mark.parametrize("q", [-0.1, [0.5, 1.5], np.nan])
    def test_an_invalid_quantile_is_rejected(self, ds, q):
        with pytest.raises(UsageError, match="q must be between 0 and 1"):
            quantile(ds["kl"], q)

    def test_an_unknown_dimension_is_rejected(self, ds):
        with pytest.raises(
            UsageError, match="dimension 'promt' of kl not found; available: cell, alpha"
        ):
            quantile(ds["kl"], 0.5, "promt")


class TestBands:
    def test_any_array_along_token_is_accepted(self, ds):
        everything = bands(ds, roll=9, distinct=False)
        xr.testing.assert_identical(bands(ds["kl"], roll=9), everything)
        assert not bands(ds, roll=9).equals(everything)
        xr.testing.assert_identical(bands(ds, roll=9), bands(distinct(ds), roll=9))
        assert bands(normalise_kl(ds), [0.5], roll=9).dims == ("quantile", "alpha", "token")

    def test_quantiles_are_computed_before_smoothing(self, ds):
        after = smooth(quantile(distinct(ds)["kl"], 0.5), 9)
        xr.testing.assert_identical(bands(ds, 0.5, 9), after)
        assert not after.equals(quantile(smooth(distinct(ds)["kl"], 9), 0.5))


class TestNormaliseKl:
    def test_each_trajectory_has_an_early_p95_of_one(self, ds):
        normal = normalise_kl(ds, calib_tokens=12)
        p95 = quantile(normal.sel(token=slice(0, 11)), 0.95, "token")
        np.testing.assert_allclose(p95.where(p95.notnull(), 1), 1, rtol=1e-6)

    def test_it_is_the_trajectory_over_its_raw_early_p95(self, ds):
        raw = ds["kl"].isel(cell=0, alpha=-1, prompt=2).values
        scale = np.quantile(raw[:20][~np.isnan(raw[:20])], 0.95)
        found = normalise_kl(ds).isel(cell=0, alpha=-1, prompt=2)
        np.testing.assert_allclose(found, raw / scale, rtol=1e-6)
        assert found.dtype == ds["kl"].dtype

    def test_a_trajectory_at_alpha_0_is_nan(self, ds):
        normal = normalise_kl(ds)
        assert normal.sel(alpha=0).isnull().all()
        steered = {"alpha": slice(0.25, None)}
        assert normal.sel(steered).isnull().equals(ds["kl"].sel(steered).isnull())

    def test_the_first_tokens_are_found_by_label(self, ds):
        later = normalise_kl(ds.sel(token=slice(5, None)), calib_tokens=12)
        by_hand = ds["kl"] / quantile(ds["kl"].sel(token=slice(5, 11)), 0.95, "token")
        steered = {"alpha": slice(1, None), "token": slice(5, None)}
        np.testing.assert_allclose(later.sel(steered), by_hand.sel(steered), rtol=1e-6)
        with pytest.raises(UsageError, match="the selection has no token below calib_tokens=20"):
            normalise_kl(ds.sel(token=slice(30, None)))

    @pytest.mark.parametrize("calib_tokens", [0, -1, 2.5])
    def test_invalid_calib_tokens_are_rejected(self, ds, calib_tokens):
        with pytest.raises(UsageError, match="must be a positive integer"):
            normalise_kl(ds, calib_tokens)


class TestPmassOnTokens:
    def test_a_cell_with_other_forks_changes_no_bit_of_the_others(self, ds):
        other = ds.isel(cell=[0]).assign_coords(fork=ds["fork"] + ds["fork"] % 3)
        other = other.isel(fork=np.unique(other["fork"], return_index=True)[1])
        both = xr.concat(
            [ds.drop_indexes("run_id"), other.drop_indexes("run_id")], "cell", join="outer"
        )
        assert both.sizes["fork"] > ds.sizes["fork"]
        alone, together = pmass_on_tokens(ds), pmass_on_tokens(both).isel(cell=slice(0, -1))
        assert together.values.tobytes() == alone.values.tobytes()

    def test_it_has_the_tokens_and_trajectories_of_kl(self, ds):
        line = pmass_on_tokens(ds)
        assert line.dims == ds["kl"].dims
        assert line.indexes["token"].equals(ds.indexes["token"])
        assert line.dtype == ds["pmass_eval"].dtype
        ended = ds["token"] >= ds["gen_len"]
        assert line.where(ended).isnull().all()
        assert line.where(~ended & ds["pmass_eval"].notnull().any("fork"), 0).notnull().all()

    def test_it_has_the_chunks_of_kl(self, ds):
        lazy = ds.assign(kl=ds["kl"].chunk(cell=2, alpha=1))
        assert pmass_on_tokens(lazy).chunksizes == lazy["kl"].chunksizes

    def test_a_single_fork_is_rejected(self, ds):
        with pytest.raises(UsageError, match="dimension 'fork' of pmass_eval not found"):
            pmass_on_tokens(ds.isel(fork=2))


UNPAIRED = {
    "the sweep": lambda ds: ds,
    "one cell": lambda ds: ds.isel(cell=0),
    "one alpha": lambda ds: ds.sel(alpha=1.0),
    "one trajectory": lambda ds: ds.isel(cell=0, alpha=4, prompt=1),
}


@pytest.mark.parametrize("choose", UNPAIRED.values(), ids=UNPAIRED)
def test_pmass_of_unpaired_doses_is_nan(sample_ds, choose):
    flags = np.zeros_like(sample_ds.unpaired)
    flags[0, sample_ds.alpha.values == 1] = 1
    ds = choose(sample_ds.assign(unpaired=(("cell", "alpha"), flags)))
    before, after = pmass_on_tokens(choose(sample_ds)), pmass_on_tokens(ds)
    xr.testing.assert_identical(after, before.where(ds.unpaired == 0).transpose(*before.dims))
    assert after.notnull().any() or ds.unpaired.all()
    with dask.config.set(scheduler=computes_nothing):
        lazy = pmass_on_tokens(ds.chunk({"token": 20}))
    assert lazy.chunks
    xr.testing.assert_identical(lazy.compute(), after)


def test_a_selection_without_the_flag_is_taken_as_paired(sample_ds):
    before = pmass_on_tokens(sample_ds)
    xr.testing.assert_identical(pmass_on_tokens(sample_ds.drop_vars("unpaired")), before)


def computes_nothing(*_, **__):
    raise AssertionError("something was computed")
