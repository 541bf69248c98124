import tracemalloc

import numpy as np
import pytest
import xarray as xr

import isoklx
from isoklx.errors import DatasetError, UsageError
from isoklx.sweeps.build import convert
from tests.handmade import NAN, kl, make_cell

pytest.importorskip("zarr", reason="needs the extra zarr")


@pytest.fixture
def root(tmp_path):
    make_cell(tmp_path / "root", "a", trajectory=kl({"1": [[1, 2, 3, 4], [5]], "0.5": [[6]]}))
    make_cell(tmp_path / "root", "b", calib={"window": 2}, trajectory=kl({"2": [[7, NAN]]}))
    make_cell(tmp_path / "root", "c", trajectory={})
    return tmp_path / "root"


@pytest.mark.parametrize(("first", "second"), [("nc", "zarr"), ("zarr", "nc")])
def test_converting_there_and_back_changes_nothing(root, tmp_path, first, second):
    built = isoklx.build(root, tmp_path / f"a.{first}").out
    there = convert(built, tmp_path / f"b.{second}")
    back = convert(there, tmp_path / f"c.{first}")
    before, *after = (isoklx.open_sweep(path).load() for path in (built, there, back))
    for ds in after:
        xr.testing.assert_identical(ds, before)
        assert type(ds.attrs["schema_version"]) is type(before.attrs["schema_version"])


def test_cells_of_a_converted_file_are_not_parsed_again(root, tmp_path):
    built = isoklx.build(root, tmp_path / "a.nc")
    report = isoklx.build(root, convert(built.out, tmp_path / "a.zarr"))
    assert not report.written
    assert report.notes == built.notes != ()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_cells(tmp_path):
    rows = np.random.default_rng(0).random((4, 25_000), dtype="f4").tolist()

    def peak(n):
        root = tmp_path / str(n)
        for i in range(n):
            make_cell(root, f"c{i}", calib={"window": 25_000}, trajectory=kl({"1": rows}))
        built = isoklx.build(root).out
        tracemalloc.start()
        convert(built, tmp_path / "a.zarr")
        convert(tmp_path / "a.zarr", tmp_path / "b.nc")
        traced = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return traced

    peak(1)  # imports
    assert peak(12) < 1.3 * peak(4)


def test_a_source_not_written_by_build_is_refused(root, tmp_path):
    with pytest.raises(DatasetError, match="file not found"):
        convert(tmp_path / "absent.nc", tmp_path / "a.zarr")
    isoklx.open_sweep(root).to_netcdf(tmp_path / "derived.nc")
    with pytest.raises(DatasetError, match="not a file of isoklx build"):
        convert(tmp_path / "derived.nc", tmp_path / "a.zarr")
    with pytest.raises(UsageError, match=r"must end in \.nc or \.zarr"):
        convert(tmp_path / "derived.nc", tmp_path / "a.h5")
    assert not (tmp_path / "a.zarr").exists()


def test_without_force_only_built_files_are_replaced(root, tmp_path):
    built = isoklx.build(root, tmp_path / "a.nc").out
    xr.Dataset({"temperature": 1.0}).to_netcdf(tmp_path / "precious.nc")
    with pytest.raises(UsageError, match=r"precious\.nc: .*not known to be written by"):
        convert(built, tmp_path / "precious.nc")
    with xr.open_dataset(tmp_path / "precious.nc") as ds:
        assert ds.temperature == 1
    for force in (True, False):
        convert(built, tmp_path / "precious.nc", force=force)
        assert isoklx.open_sweep(tmp_path / "precious.nc").run_id.size == 3
