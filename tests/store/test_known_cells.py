import netCDF4
import numpy as np
import pytest
from numpy.testing import assert_array_equal

import isoklx
from isoklx.cells.reading import read_cell
from isoklx.store.known_cells import known_cells
from tests.handmade import NAN, kl, make_cell


@pytest.fixture
def folders(tmp_path):
    make_cell(tmp_path / "root", "wide", trajectory=kl({"0.5": [[1, 2, 3, 4], [5]], "2": [[6]]}))
    make_cell(
        tmp_path / "root",
        "narrow",
        calib={"window": 2, "seed": 3},
        trajectory=kl({"1": [[0.5]]}),
        pmass={"fork_points": [0, 2], "pmass_eval": {"1": [[0.5, NAN]]}},
        history=[{"coeff": 1, "kl_mean": 2, "kl_p95": 3, "kl_max": 4}],
    )
    make_cell(tmp_path / "root", "calibrated")
    return sorted((tmp_path / "root").iterdir())


def test_cells_come_back_without_their_padding(folders, tmp_path):
    out = isoklx.build(tmp_path / "root").out
    with known_cells(out, "float32") as (known, attributes):
        assert attributes["creation_library"] == "isoklx"
        assert list(known) == [folder.name for folder in folders]
        for folder in folders:
            before, after = read_cell(folder), known[folder.name]
            np.testing.assert_equal(after.labels, before.labels)
            for name in ("folder", "stamps", "shapes", "dtype", "notes"):
                assert getattr(after, name) == getattr(before, name)
            assert_array_equal(after.alpha, before.alpha)
            assert_array_equal(after.fork, before.fork)
            assert set(after.data) == set(before.data)
            for name, values in before.data.items():
                assert_array_equal(after.data[name], values)


@pytest.mark.parametrize("attribute", ["schema_version", "creation_library_version"])
def test_file_of_another_version_is_not_reused(folders, tmp_path, attribute):
    out = isoklx.build(tmp_path / "root").out
    with netCDF4.Dataset(out, "a") as file:
        file.setncattr(attribute, 0)
    with known_cells(out, "float32") as (known, _):
        assert known == {}


def test_file_of_another_dtype_is_not_reused(folders, tmp_path):
    with known_cells(isoklx.build(tmp_path / "root").out, "float64") as (known, _):
        assert known == {}


def test_absent_file_gives_no_cells(tmp_path):
    with known_cells(tmp_path / "absent.nc", "float32") as (known, attributes):
        assert known == attributes == {}
