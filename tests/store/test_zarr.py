import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_array_equal

import isoklx
from isoklx import schema
from isoklx.errors import BuildError
from isoklx.store.provenance import DATED
from tests.handmade import NAN, kl, make_cell

zarr = pytest.importorskip("zarr", reason="needs the extra zarr")

from isoklx.store import zarr as zarr_store


@pytest.fixture
def root(tmp_path):
    make_cell(tmp_path / "root", "a", trajectory=kl({"1": [[1, 2, 3, 4], [5]], "0.5": [[6]]}))
    make_cell(tmp_path / "root", "b", calib={"window": 2}, trajectory=kl({"2": [[7, NAN]]}))
    return tmp_path / "root"


def undated(ds):
    return ds.drop_attrs(deep=False).assign_attrs(
        {name: value for name, value in ds.attrs.items() if name not in DATED}
    )


@pytest.mark.parametrize("chunk", [1, 2**20])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_zarr_and_netcdf_hold_the_same(sample, tmp_path, monkeypatch, chunk, dtype):
    monkeypatch.setattr(zarr_store, "CHUNK", chunk)
    opened = [
        isoklx.open_sweep(isoklx.build(sample, tmp_path / f"a.{suffix}", dtype=dtype).out).load()
        for suffix in ("nc", "zarr")
    ]
    xr.testing.assert_identical(*map(undated, opened))
    for name in schema.VARIABLES:
        netcdf, of_zarr = (ds[name] for ds in opened)
        assert of_zarr.dtype == netcdf.dtype
        assert of_zarr.attrs.keys() == netcdf.attrs.keys()
        for attribute, value in netcdf.attrs.items():
            assert type(of_zarr.attrs[attribute]) is type(value)


def test_plain_xarray_opens_it_without_a_warning(root, tmp_path):
    isoklx.build(root, tmp_path / "a.zarr")
    with warnings.catch_warnings(action="error"), xr.open_dataset(tmp_path / "a.zarr") as ds:
        assert ds.run_id.values.tolist() == ["a", "b"]
        assert ds.kl.sel(alpha=0.5).values[0, 0].tolist()[0] == 6
        assert ds.kl.attrs["units"] == "1"


def test_dtypes_and_fill_values_are_those_of_the_schema(root, tmp_path):
    group = zarr.open_group(isoklx.build(root, tmp_path / "a.zarr").out, mode="r")
    for name, var in schema.VARIABLES.items():
        if var.dtype != "str":
            assert group[name].dtype == var.dtype
        if var.fill is not None:
            assert_array_equal(group[name].fill_value, np.array(var.fill, dtype=var.dtype))


def test_calibrated_only_sweep_is_preserved(tmp_path):
    make_cell(tmp_path / "root")
    isoklx.build(tmp_path / "root", tmp_path / "a.zarr")
    opened = isoklx.open_sweep(tmp_path / "a.zarr"), isoklx.open_sweep(tmp_path / "root")
    xr.testing.assert_identical(*(undated(ds.load()) for ds in opened))


def test_a_dose_that_a_cell_did_not_run_is_not_stored(root, tmp_path, monkeypatch):
    monkeypatch.setattr(zarr_store, "CHUNK", 1)
    isoklx.build(root, tmp_path / "a.zarr")
    chunks = {path.name for path in (tmp_path / "a.zarr" / "kl").glob("[0-9]*")}
    assert chunks == {"0.0.0.0", "0.1.0.0", "1.2.0.0"}


def test_a_dose_is_read_without_the_others(root, tmp_path, monkeypatch):
    monkeypatch.setattr(zarr_store, "CHUNK", 1)
    isoklx.build(root, tmp_path / "a.zarr")
    for chunk in (tmp_path / "a.zarr" / "kl").glob("[0-9]*"):
        if chunk.name != "0.1.0.0":
            chunk.write_bytes(b"damaged")
    ds = isoklx.open_sweep(tmp_path / "a.zarr")
    assert ds.kl.sel(alpha=1.0).sum() == 15
    with pytest.raises(RuntimeError):
        ds.kl.sel(alpha=0.5).load()


def test_damaged_chunk_is_not_reused(root, tmp_path):
    isoklx.build(root, tmp_path / "a.zarr")
    (tmp_path / "a.zarr" / "kl" / "0.1.0.0").write_bytes(b"damaged")
    make_cell(root, "c", trajectory=kl({"1": [[8]]}))
    with pytest.raises(BuildError, match=r"a\.zarr: damaged at kl; build it again with --force"):
        isoklx.build(root, tmp_path / "a.zarr")
    assert isoklx.build(root, tmp_path / "a.zarr", force=True).written


@pytest.mark.slow
@pytest.mark.parametrize("file", [".zgroup", ".zattrs", "run_id/0", "build/manifest/0"])
def test_otherwise_damaged_store_is_rebuilt(root, tmp_path, file):
    isoklx.build(root, tmp_path / "a.zarr")
    (tmp_path / "a.zarr" / file).write_bytes(b"damaged")
    report = isoklx.build(root, tmp_path / "a.zarr")
    assert report.unchanged == ()
    assert isoklx.open_sweep(report.out).kl.sum() == 28


def test_failed_write_leaves_only_the_old_store(root, tmp_path, monkeypatch):
    isoklx.build(root, tmp_path / "a.zarr")

    def full_disk(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zarr_store.Block, "write", full_disk)
    with pytest.raises(BuildError, match=r"a\.zarr: cannot be written: No space left on device"):
        isoklx.build(root, tmp_path / "a.zarr", force=True)
    assert isoklx.open_sweep(tmp_path / "a.zarr").kl.sum() == 28
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zarr", "root"]


def test_old_store_is_restored_if_the_rename_fails(root, tmp_path, monkeypatch):
    isoklx.build(root, tmp_path / "a.zarr")
    rename = Path.rename

    def refuse(self, target):
        if self.name == "partial":
            raise PermissionError(13, "Permission denied")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(BuildError, match="Permission denied"):
        isoklx.build(root, tmp_path / "a.zarr", force=True)
    assert isoklx.open_sweep(tmp_path / "a.zarr").kl.sum() == 28
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zarr", "root"]


def test_second_build_parses_only_changes(root, tmp_path):
    isoklx.build(root, tmp_path / "a.zarr")
    assert not isoklx.build(root, tmp_path / "a.zarr").written
    (root / "b" / "trajectory.json").write_text('{"per_prompt_per_t_kl": {"4": [[3, 4, 5]]}}')
    report = isoklx.build(root, tmp_path / "a.zarr")
    assert report.unchanged == ("a",)
    scratch = isoklx.build(root, tmp_path / "b.zarr").out
    xr.testing.assert_identical(
        *(undated(isoklx.open_sweep(path).load()) for path in (report.out, scratch))
    )
