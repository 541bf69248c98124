import numpy as np
import pytest
import xarray as xr

import isoklx
from isoklx.errors import BuildError, DatasetError
from isoklx.store import opening
from tests.handmade import kl, make_cell

DATES = ("date_created", "history")


def test_a_file_and_its_runs_root_open_as_identical_datasets(sample, tmp_path):
    isoklx.build(sample, tmp_path / "sample.nc")
    of_file, of_root = isoklx.open_sweep(tmp_path / "sample.nc"), isoklx.open_sweep(sample)
    for ds in (of_file, of_root):
        ds.attrs = {name: value for name, value in ds.attrs.items() if name not in DATES}
    xr.testing.assert_identical(of_file, of_root)


def test_cells_are_selected_by_run_id_and_by_query(sample_ds):
    cell = sample_ds.sel(run_id=sample_ds.run_id[3].item())
    xr.testing.assert_equal(cell.kl, sample_ds.kl[3])
    chosen = sample_ds.query(cell="method == 'pca' and seed == 0")
    assert set(chosen.method.values) == {"pca"}
    assert set(chosen.seed.values) == {0}


def test_opening_a_runs_root_warns_of_a_skipped_cell(tmp_path):
    make_cell(tmp_path, "a", trajectory=kl({"1": [[1]]}))
    make_cell(tmp_path, "b", trajectory="[")
    with pytest.warns(UserWarning, match=r"skipped .*b/trajectory\.json: not JSON"):
        ds = isoklx.open_sweep(tmp_path)
    assert ds.sizes["cell"] == 1


def test_chunks_make_a_runs_root_dask_backed(sample):
    assert isoklx.open_sweep(sample).kl.chunks is None
    assert isoklx.open_sweep(sample, chunks={"cell": 1}).kl.chunks is not None


def test_a_zarr_store_opens_like_a_file(sample, tmp_path):
    pytest.importorskip("zarr", reason="needs the extra zarr")
    isoklx.build(sample, tmp_path / "sample.zarr")
    ds = isoklx.open_sweep(tmp_path / "sample.zarr", chunks={})
    assert ds.kl.chunks is not None
    assert ds.sel(run_id="simulated-1B_pca_s0_w64").kl.dims == ("alpha", "prompt", "token")


def test_a_large_runs_root_is_dask_backed(sample, monkeypatch):
    monkeypatch.setattr(opening, "LARGE", 7)
    assert isoklx.open_sweep(sample).kl.chunks is not None


def test_a_missing_path_is_one_line(tmp_path):
    with pytest.raises(DatasetError, match="file not found"):
        isoklx.open_sweep(tmp_path / "sweep.nc")
    with pytest.raises(BuildError, match="no cell here"):
        isoklx.open_sweep(tmp_path)


def test_quantiles_of_the_measured_sweep_equal_the_oracle(real_root, oracle, tmp_path):
    isoklx.build(real_root, tmp_path / "q.nc")
    ds = isoklx.open_sweep(tmp_path / "q.nc")
    expected = xr.open_dataset(oracle / "bands.nc").kl_quantile.sel(roll=1, drop=True)
    for alpha in expected.alpha.values:
        found = ds.kl.sel(alpha=alpha).quantile([0.1, 0.5, 0.9], dim=["cell", "prompt"])
        np.testing.assert_allclose(
            found, expected.sel(alpha=alpha, quantile=[0.1, 0.5, 0.9]), rtol=1e-6, atol=0
        )
