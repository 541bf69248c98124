import h5py
import netCDF4
import numpy as np
import pytest
import xarray as xr

import isoklx
from isoklx.errors import DatasetError
from isoklx.store import stored_sweep
from tests.handmade import kl, make_cell


@pytest.fixture
def built(tmp_path):
    make_cell(tmp_path / "root", trajectory=kl({"1": [[1, 2]]}))
    return isoklx.build(tmp_path / "root", tmp_path / "a.nc").out


def test_a_small_file_is_numpy_backed_and_a_large_one_dask_backed(built, monkeypatch):
    with stored_sweep.read(built) as ds:
        assert ds.kl.chunks is None
    with stored_sweep.read(built, chunks={"alpha": 1}) as ds:
        assert ds.kl.chunks is not None
    monkeypatch.setattr(stored_sweep, "LARGE", 7)
    with stored_sweep.read(built) as ds:
        assert ds.kl.chunks is not None
    with stored_sweep.read(built, chunks=None) as ds:
        assert ds.kl.chunks is None


def test_an_absent_file_is_one_line(tmp_path):
    with pytest.raises(DatasetError, match=r"b\.nc: there is no such file"):
        stored_sweep.read(tmp_path / "b.nc")


@pytest.mark.parametrize("content", [b"", b"not netCDF", b"\x89HDF\r\n\x1a\n and then nothing"])
def test_a_file_that_is_no_netcdf_is_one_line(tmp_path, content):
    (tmp_path / "a.nc").write_bytes(content)
    with pytest.raises(DatasetError, match=r"a\.nc: cannot be read as netCDF: .+") as caught:
        stored_sweep.read(tmp_path / "a.nc")
    assert "\n" not in str(caught.value)


def test_a_foreign_netcdf_is_told_what_it_lacks(tmp_path):
    xr.Dataset({"temperature": ("x", [1.0])}).to_netcdf(tmp_path / "a.nc")
    with pytest.raises(DatasetError, match=r"a\.nc: not an isoklx sweep: it has no run_id"):
        stored_sweep.read(tmp_path / "a.nc")


def test_a_file_of_a_newer_schema_is_refused_with_a_sentence(built):
    with netCDF4.Dataset(built, "a") as file:
        file.schema_version = 4
    with pytest.raises(DatasetError, match=r"newer isoklx \(schema 4, this one reads up to 3\)"):
        stored_sweep.read(built)


def test_dask_arrays_have_the_chunks_of_the_file(tmp_path):
    rows = np.full((1, 20_000), 0.5).tolist()
    for i in range(3):
        make_cell(
            tmp_path / "root",
            f"c{i}",
            calib={"window": 20_000},
            trajectory=kl({"1": rows, "2": rows}),
        )
    built = isoklx.build(tmp_path / "root").out
    with stored_sweep.read(built, chunks={}) as ds:
        assert ds.kl.chunks == ((1, 1, 1), (1, 1), (1,), (20_000,))
    with stored_sweep.read(built, chunks={"token": 5_000, "cell": -1}) as ds:
        assert ds.kl.chunks == ((3,), (1, 1), (1,), (5_000,) * 4)


def test_a_dose_is_read_without_the_others(tmp_path):
    rows = np.random.default_rng(0).random((1, 20_000)).tolist()
    for i in range(3):
        make_cell(
            tmp_path / "root",
            f"c{i}",
            calib={"window": 20_000},
            trajectory=kl({"0.5": rows, str(i + 1): rows}),
        )
    built = isoklx.build(tmp_path / "root").out
    with h5py.File(built) as file, built.open("r+b") as content:
        kl_chunks = file["kl"].id
        for i in range(kl_chunks.get_num_chunks()):
            chunk = kl_chunks.get_chunk_info(i)
            if chunk.chunk_offset[1] != 1:  # the second alpha
                content.seek(chunk.byte_offset)
                content.write(bytes(chunk.size))
    with stored_sweep.read(built) as ds:
        assert ds.kl.sel(alpha=1.0).notnull().sum() == 20_000
        with pytest.raises(RuntimeError):
            ds.kl.sel(alpha=0.5).load()


@pytest.mark.parametrize("content", [{}, {".zgroup": "{"}, {".zgroup": '{"zarr_format": 2}'}])
def test_a_folder_that_is_no_sweep_in_zarr_is_one_line(tmp_path, content):
    pytest.importorskip("zarr", reason="needs the extra zarr")
    path = tmp_path / "a.zarr"
    path.mkdir()
    for name, text in content.items():
        (path / name).write_text(text)
    with pytest.raises(
        DatasetError, match=r"a\.zarr: (cannot be read as Zarr|not an isoklx sweep)"
    ) as caught:
        stored_sweep.read(path)
    assert "\n" not in str(caught.value)


def test_a_damaged_attribute_is_one_line(built, monkeypatch):
    def damaged(*_, **__):
        raise AttributeError("NetCDF: Can't open HDF5 attribute")

    monkeypatch.setattr("isoklx.store.stored_sweep.xr.open_dataset", damaged)
    with pytest.raises(DatasetError, match=r"a\.nc: cannot be read as netCDF: NetCDF: Can't open"):
        stored_sweep.read(built)
