import errno

import numpy as np
import pytest
import xarray as xr

from isoklx import schema, store
from isoklx.cells import read_cell
from isoklx.errors import BuildError, DatasetError
from isoklx.sweep import assemble
from tests.handmade import kl, make_cell


@pytest.fixture
def tiny(tmp_path):
    return assemble([read_cell(make_cell(tmp_path / "root", trajectory=kl({"1": [[1, 2]]})))])


def test_what_was_written_is_read_back_identical(sample_ds, tmp_path):
    ds = sample_ds.drop_indexes("run_id")
    store.write(ds, tmp_path / "a.nc")
    with store.read(tmp_path / "a.nc") as back:
        xr.testing.assert_identical(back.load(), ds)
        assert {name: var.dtype for name, var in back.variables.items()} == {
            name: var.dtype for name, var in ds.variables.items()
        }


def test_plain_xarray_reads_the_same(sample_ds, tmp_path):
    store.write(sample_ds, tmp_path / "a.nc")
    with xr.open_dataset(tmp_path / "a.nc") as plain:
        xr.testing.assert_identical(plain.load(), sample_ds.drop_indexes("run_id"))


def test_dtypes_on_disk_are_those_of_the_schema(sample_ds, tmp_path):
    store.write(sample_ds, tmp_path / "a.nc")
    with xr.open_dataset(tmp_path / "a.nc", mask_and_scale=False) as raw:
        for name, var in schema.VARIABLES.items():
            assert (
                raw[name].dtype.kind == "U" if var.dtype == "str" else raw[name].dtype == var.dtype
            )
            fill = raw[name].attrs.get("_FillValue")
            assert (
                fill is None if var.fill is None else np.array_equal(fill, var.fill, equal_nan=True)
            )


def test_float64_is_kept(tmp_path):
    folder = make_cell(tmp_path / "root", trajectory=kl({"1": [[0.1, 1e-60]]}))
    store.write(assemble([read_cell(folder, dtype="float64")]), tmp_path / "a.nc")
    with store.read(tmp_path / "a.nc") as ds:
        assert ds.kl.values.tolist() == [[[[0.1, 1e-60]]]]


def test_a_sweep_of_dimensions_of_length_0_is_kept(tmp_path):
    ds = assemble([read_cell(make_cell(tmp_path / "root"))])
    store.write(ds, tmp_path / "a.nc")
    with store.read(tmp_path / "a.nc") as back:
        xr.testing.assert_identical(back.load(), ds)


def test_a_failed_write_leaves_the_old_file_and_no_litter(tiny, tmp_path, monkeypatch):
    store.write(tiny, tmp_path / "a.nc")
    before = (tmp_path / "a.nc").read_bytes()

    def full_disk(self, path, **_):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(xr.Dataset, "to_netcdf", full_disk)
    with pytest.raises(BuildError, match=r"a\.nc: cannot be written: No space left on device"):
        store.write(tiny, tmp_path / "a.nc")
    assert (tmp_path / "a.nc").read_bytes() == before
    assert [path.name for path in tmp_path.glob("*.nc*")] == ["a.nc"]
    assert not list(tmp_path.glob(".*"))


def test_an_interrupted_write_leaves_no_litter(tiny, tmp_path, monkeypatch):
    def interrupted(self, path, **_):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(xr.Dataset, "to_netcdf", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.write(tiny, tmp_path / "a.nc")
    assert [path.name for path in tmp_path.iterdir()] == ["root"]


def test_a_file_that_is_open_keeps_serving_its_old_content(tiny, tmp_path):
    store.write(tiny, tmp_path / "a.nc")
    with store.read(tmp_path / "a.nc") as old:
        store.write(tiny.assign(kl=tiny.kl + 1), tmp_path / "a.nc")
        assert old.kl.values.tolist() == [[[[1, 2]]]]
    with store.read(tmp_path / "a.nc") as new:
        assert new.kl.values.tolist() == [[[[2, 3]]]]


def test_a_small_file_is_numpy_backed_and_a_large_one_dask_backed(tiny, tmp_path, monkeypatch):
    store.write(tiny, tmp_path / "a.nc")
    with store.read(tmp_path / "a.nc") as ds:
        assert ds.kl.chunks is None
    with store.read(tmp_path / "a.nc", chunks={"alpha": 1}) as ds:
        assert ds.kl.chunks is not None
    monkeypatch.setattr(store, "LARGE", 7)
    with store.read(tmp_path / "a.nc") as ds:
        assert ds.kl.chunks is not None
    with store.read(tmp_path / "a.nc", chunks=None) as ds:
        assert ds.kl.chunks is None


@pytest.mark.parametrize(
    ("shape", "chunks"),
    [
        ((9, 5, 8, 512), (4, 1, 8, 512)),
        ((9, 8, 32, 4096), (1, 1, 32, 4096)),
        ((2, 0, 0, 0), (2, 1, 1, 1)),
    ],
)
def test_a_chunk_is_one_dose_of_whole_trajectories(shape, chunks):
    kl = xr.DataArray(np.broadcast_to(np.float32(0), shape), dims=schema.DATA["kl"].dims)
    assert store._chunk_shape(kl) == chunks


def test_an_absent_file_is_one_line(tmp_path):
    with pytest.raises(DatasetError, match=r"b\.nc: there is no such file"):
        store.read(tmp_path / "b.nc")


@pytest.mark.parametrize("content", [b"", b"not netCDF", b"\x89HDF\r\n\x1a\n and then nothing"])
def test_a_file_that_is_no_netcdf_is_one_line(tmp_path, content):
    (tmp_path / "a.nc").write_bytes(content)
    with pytest.raises(DatasetError, match=r"a\.nc: cannot be read as netCDF: .+") as caught:
        store.read(tmp_path / "a.nc")
    assert "\n" not in str(caught.value)


def test_a_foreign_netcdf_is_told_what_it_lacks(tmp_path):
    xr.Dataset({"temperature": ("x", [1.0])}).to_netcdf(tmp_path / "a.nc")
    with pytest.raises(DatasetError, match=r"a\.nc: not an isoklx sweep: it has no alpha, "):
        store.read(tmp_path / "a.nc")


def test_a_file_of_a_newer_schema_is_refused_with_a_sentence(tiny, tmp_path):
    store.write(tiny.assign_attrs(schema_version=2), tmp_path / "a.nc")
    with pytest.raises(DatasetError, match=r"newer isoklx \(schema 2, this one reads up to 1\)"):
        store.read(tmp_path / "a.nc")
