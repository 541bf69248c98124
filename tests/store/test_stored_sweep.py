import errno
import fcntl
import gc
import os
import subprocess
import sys

import h5py
import netCDF4
import numpy as np
import pytest
import xarray as xr

import isoklx
from isoklx.cli import main as cli
from isoklx.errors import BuildError, DatasetError
from isoklx.store import opening
from isoklx.system.atomic import replacing
from tests.handmade import kl, make_cell


@pytest.fixture
def built(tmp_path):
    make_cell(tmp_path / "root", trajectory=kl({"1": [[1, 2]]}))
    return isoklx.build(tmp_path / "root", tmp_path / "a.nc").out


def test_a_small_file_is_numpy_backed_and_a_large_one_dask_backed(built, monkeypatch):
    with opening.read(built) as ds:
        assert ds.kl.chunks is None
    with opening.read(built, chunks={"alpha": 1}) as ds:
        assert ds.kl.chunks is not None
    monkeypatch.setattr(opening, "LARGE", 7)
    with opening.read(built) as ds:
        assert ds.kl.chunks is not None
    with opening.read(built, chunks=None) as ds:
        assert ds.kl.chunks is None


def test_an_absent_file_is_one_line(tmp_path):
    with pytest.raises(DatasetError, match=r"b\.nc: file not found"):
        opening.read(tmp_path / "b.nc")


@pytest.mark.parametrize("content", [b"", b"not netCDF", b"\x89HDF\r\n\x1a\n and then nothing"])
def test_file_that_is_not_netcdf_is_one_line(tmp_path, content):
    (tmp_path / "a.nc").write_bytes(content)
    with pytest.raises(DatasetError, match=r"a\.nc: cannot be read as netCDF: .+") as caught:
        opening.read(tmp_path / "a.nc")
    assert "\n" not in str(caught.value)


def test_foreign_netcdf_error_names_what_is_missing(tmp_path):
    xr.Dataset({"temperature": ("x", [1.0])}).to_netcdf(tmp_path / "a.nc")
    with pytest.raises(DatasetError, match=r"a\.nc: not an isoklx sweep: it has no run_id"):
        opening.read(tmp_path / "a.nc")


def test_newer_schema_is_refused(built):
    with netCDF4.Dataset(built, "a") as file:
        file.schema_version = 4
    with pytest.raises(DatasetError, match=r"newer isoklx \(schema 4, this one reads up to 3\)"):
        opening.read(built)


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
    with opening.read(built, chunks={}) as ds:
        assert ds.kl.chunks == ((1, 1, 1), (1, 1), (1,), (20_000,))
    with opening.read(built, chunks={"token": 5_000, "cell": -1}) as ds:
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
    with opening.read(built) as ds:
        assert ds.kl.sel(alpha=1.0).notnull().sum() == 20_000
        with pytest.raises(RuntimeError):
            ds.kl.sel(alpha=0.5).load()


@pytest.mark.parametrize("content", [{}, {".zgroup": "{"}, {".zgroup": '{"zarr_format": 2}'}])
def test_folder_that_is_not_a_sweep_in_zarr_is_one_line(tmp_path, content):
    pytest.importorskip("zarr", reason="needs the extra zarr")
    path = tmp_path / "a.zarr"
    path.mkdir()
    for name, text in content.items():
        (path / name).write_text(text)
    with pytest.raises(
        DatasetError, match=r"a\.zarr: (cannot be read as Zarr|not an isoklx sweep)"
    ) as caught:
        opening.read(path)
    assert "\n" not in str(caught.value)


def test_a_damaged_attribute_is_one_line(built, monkeypatch):
    def damaged(*_, **__):
        raise AttributeError("NetCDF: Can't open HDF5 attribute")

    monkeypatch.setattr("isoklx.store.opening.xr.open_dataset", damaged)
    with pytest.raises(DatasetError, match=r"a\.nc: cannot be read as netCDF: NetCDF: Can't open"):
        opening.read(built)


HOLDS = "import h5py, sys; file = h5py.File(sys.argv[1], 'a'); print(flush=True); sys.stdin.read()"


@pytest.fixture
def locked(built):
    """A file locked by another process that writes to it."""
    words = [sys.executable, "-c", HOLDS, str(built)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"\n"
        yield built
        holder.stdin.close()


LOCKED = "another process has it open for writing and holds its lock; close it there, or set HDF5_"


def test_locked_file_error_names_the_remedy(locked):
    with pytest.raises(DatasetError, match=rf"a\.nc: cannot be read as netCDF: {LOCKED}"):
        isoklx.open_sweep(locked)


@pytest.mark.parametrize(
    "line",
    ["info", "table", "survival", "dose", "verify", "convert {} b.nc", "compare {} root"],
)
def test_every_command_reports_the_lock(locked, line, monkeypatch, capsys):
    monkeypatch.chdir(locked.parent)
    command, *words = line.replace("{}", "a.nc").split()
    assert cli.main([command, *(words or ["a.nc"])]) == 1
    _, err = capsys.readouterr()
    assert LOCKED in err
    assert len(err.splitlines()) == 1


def test_a_build_needs_no_lock_on_the_file_that_it_replaces(locked):
    assert not isoklx.build(locked.parent / "root", locked).written


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_file_system_without_locks_error_names_the_remedy(built, monkeypatch, number):
    def no_locks(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    built.write_bytes(b"what HDF5 does not open")
    remedy = "file system does not support locks; set HDF5_USE_FILE_LOCKING=FALSE"
    with pytest.raises(DatasetError, match=rf"a\.nc: cannot be read as netCDF: its {remedy}"):
        isoklx.open_sweep(built)
    with (
        pytest.raises(BuildError, match=rf"b\.nc: cannot be written: its {remedy}"),
        replacing(built.with_name("b.nc")),
    ):
        raise OSError(-101, "NetCDF: HDF error")
    monkeypatch.setenv("HDF5_USE_FILE_LOCKING", "FALSE")
    with pytest.raises(DatasetError, match="cannot be read as netCDF: NetCDF: Unknown file format"):
        isoklx.open_sweep(built)


def test_file_opens_repeatedly_while_selections_are_saved(sample, tmp_path):
    """Regression: with one handle per Dataset, the third open failed or crashed the process."""
    path = isoklx.build(sample, tmp_path / "a.nc", texts=True).out
    for i in range(5):
        ds = isoklx.open_sweep(path)
        ds.to_netcdf(tmp_path / f"{i}.nc")
        copy = isoklx.open_sweep(tmp_path / f"{i}.nc")  # left open, as in a notebook
        assert copy.identical(ds)


def test_closing_a_dataset_keeps_others_of_its_file_open(built):
    """The last Dataset closes the file, so that other processes may write to it."""
    first, second = isoklx.open_sweep(built), isoklx.open_sweep(built)
    expected = first.kl.copy(deep=True)
    first.close()
    isoklx.build(built.parent / "root", built, dtype="float64", force=True)
    xr.testing.assert_identical(second.kl, expected)
    assert isoklx.open_sweep(built).kl.dtype == "float64"
    second.close()
    del first, second
    gc.collect()
    with netCDF4.Dataset(built, "a"):
        pass


def test_closed_dataset_does_not_read_from_a_replaced_file(built):
    ds = isoklx.open_sweep(built)
    ds.close()
    isoklx.build(built.parent / "root", built, dtype="float64", force=True)
    with pytest.raises(DatasetError, match=r"a\.nc: changed since it was opened; open it again"):
        ds.kl.load()
