import netCDF4
import pytest
import xarray as xr

import isoklx
from isoklx import store
from isoklx.errors import DatasetError
from tests.handmade import kl, make_cell


@pytest.fixture
def built(tmp_path):
    make_cell(tmp_path / "root", trajectory=kl({"1": [[1, 2]]}))
    return isoklx.build(tmp_path / "root", tmp_path / "a.nc").out


def test_a_small_file_is_numpy_backed_and_a_large_one_dask_backed(built, monkeypatch):
    with store.read(built) as ds:
        assert ds.kl.chunks is None
    with store.read(built, chunks={"alpha": 1}) as ds:
        assert ds.kl.chunks is not None
    monkeypatch.setattr(store, "LARGE", 7)
    with store.read(built) as ds:
        assert ds.kl.chunks is not None
    with store.read(built, chunks=None) as ds:
        assert ds.kl.chunks is None


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


def test_a_file_of_a_newer_schema_is_refused_with_a_sentence(built):
    with netCDF4.Dataset(built, "a") as file:
        file.schema_version = 2
    with pytest.raises(DatasetError, match=r"newer isoklx \(schema 2, this one reads up to 1\)"):
        store.read(built)
