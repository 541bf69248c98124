import h5py
import netCDF4
import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_array_equal

import isoklx
from isoklx import schema
from isoklx.cells.reading import read_cell
from isoklx.errors import BuildError
from isoklx.store import netcdf
from isoklx.store.dataset import assemble
from isoklx.store.netcdf import write_cells
from isoklx.store.provenance import global_attributes
from tests.handmade import NAN, kl, make_cell


@pytest.fixture
def tiny(tmp_path):
    return [read_cell(make_cell(tmp_path / "root", trajectory=kl({"1": [[1, 2]]})))]


@pytest.fixture
def cells(sample):
    return [read_cell(folder) for folder in sorted(sample.iterdir())]


def test_plain_xarray_reads_the_values_of_the_cells(cells, sample, tmp_path):
    write_cells(cells, tmp_path / "a.nc", global_attributes(cells, [sample]))
    expected = assemble(cells).assign_attrs(global_attributes(cells, [sample]))
    with xr.open_dataset(tmp_path / "a.nc") as ds:
        ds.attrs["history"], ds.attrs["date_created"] = (
            expected.attrs["history"],
            expected.attrs["date_created"],
        )
        xr.testing.assert_identical(ds.load(), expected)
        assert {name: var.dtype for name, var in ds.variables.items()} == {
            name: var.dtype for name, var in expected.variables.items()
        }


def test_the_order_of_cells_changes_nothing(cells, tmp_path):
    write_cells(cells, tmp_path / "a.nc", {})
    write_cells(cells[::-1], tmp_path / "b.nc", {})
    with xr.open_dataset(tmp_path / "a.nc") as a, xr.open_dataset(tmp_path / "b.nc") as b:
        xr.testing.assert_identical(a.load(), b.load())


def test_dtypes_and_fill_values_on_disk_are_those_of_the_schema(cells, tmp_path):
    write_cells(cells, tmp_path / "a.nc", {})
    with netCDF4.Dataset(tmp_path / "a.nc") as file:
        for name, var in schema.VARIABLES.items():
            assert file[name].dtype == (str if var.dtype == "str" else var.dtype)
            fill = file[name].__dict__.get("_FillValue")
            if var.fill is None:
                assert fill is None
            else:
                assert_array_equal(fill, np.array(var.fill, dtype=var.dtype))


def test_float64_is_preserved(tmp_path):
    folder = make_cell(tmp_path / "root", trajectory=kl({"1": [[0.1, 1e-60]]}))
    write_cells([read_cell(folder, dtype="float64")], tmp_path / "a.nc", {})
    with xr.open_dataset(tmp_path / "a.nc") as ds:
        assert ds.kl.values.tolist() == [[[[0.1, 1e-60]]]]


def test_dimensions_of_length_0_are_preserved(tmp_path):
    cell = read_cell(make_cell(tmp_path / "root"))
    write_cells([cell], tmp_path / "a.nc", {})
    with xr.open_dataset(tmp_path / "a.nc") as ds:
        xr.testing.assert_identical(ds.load(), assemble([cell]))


def test_padding_takes_no_disk_space(tmp_path):
    rng = np.random.default_rng(0)

    def written(name, windows):
        folders = [
            make_cell(
                tmp_path / name,
                f"c{i}",
                calib={"window": window},
                trajectory=kl({"1": rng.random((2, window), dtype="f4").tolist()}),
            )
            for i, window in enumerate(windows)
        ]
        write_cells([read_cell(folder) for folder in folders], tmp_path / f"{name}.nc", {})
        return (tmp_path / f"{name}.nc").stat().st_size

    numbers = 4 * 2 * (20_000 + 19 * 100)
    assert written("mixed", [20_000] + 19 * [100]) < numbers + 200_000 < 20 * 20_000 * 4 * 2


def test_a_dose_that_a_cell_did_not_run_is_not_stored(tmp_path):
    rows = np.full((1, 20_000), 0.5).tolist()
    folders = [
        make_cell(tmp_path, f"c{i}", calib={"window": 20_000}, trajectory=kl({str(i): rows}))
        for i in range(2)
    ]
    write_cells([read_cell(folder) for folder in folders], tmp_path / "a.nc", {})
    with h5py.File(tmp_path / "a.nc") as file:
        assert file["kl"].id.get_num_chunks() == 2
        assert_array_equal(file["kl"][:, :, 0, 0], [[0.5, NAN], [NAN, 0.5]])


def test_failed_write_leaves_only_the_old_file(tiny, tmp_path, monkeypatch):
    write_cells(tiny, tmp_path / "a.nc", {})
    before = (tmp_path / "a.nc").read_bytes()

    def full_disk(*_):
        raise RuntimeError("NetCDF: HDF error")

    monkeypatch.setattr(netcdf, "_measured", full_disk)
    with pytest.raises(BuildError, match=r"a\.nc: cannot be written: NetCDF: HDF error"):
        write_cells(tiny, tmp_path / "a.nc", {})
    assert (tmp_path / "a.nc").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.nc", "root"]


def test_interrupted_write_leaves_no_temporary_files(tiny, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(netcdf, "_measured", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_cells(tiny, tmp_path / "a.nc", {})
    assert [path.name for path in tmp_path.iterdir()] == ["root"]


def test_open_file_keeps_its_old_content(tmp_path):
    folder = make_cell(tmp_path / "root", trajectory=kl({"1": [[1, 2]]}))
    isoklx.build(tmp_path / "root", tmp_path / "a.nc")
    with isoklx.open_sweep(tmp_path / "a.nc") as old:
        (folder / "trajectory.json").write_text('{"per_prompt_per_t_kl": {"1": [[3, 4]]}}')
        isoklx.build(tmp_path / "root", tmp_path / "a.nc")
        assert old.kl.values.tolist() == [[[[1, 2]]]]
    with isoklx.open_sweep(tmp_path / "a.nc") as new:
        assert new.kl.values.tolist() == [[[[3, 4]]]]
