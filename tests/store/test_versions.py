"""Files of version 1 are read, and what builds upon them starts anew."""

from __future__ import annotations

import netCDF4
import numpy as np
import pytest
import xarray as xr

import isoklx
from isoklx import schema
from isoklx.store.versions import upgraded
from isoklx.sweeps.conversion import convert
from isoklx.sweeps.verification import verify
from tests.older_files import NEW, netcdf_of_version_1, zarr_of_version_1


@pytest.fixture(scope="module")
def built(sample, tmp_path_factory):
    return isoklx.build(sample, tmp_path_factory.mktemp("built") / "new.nc").out


@pytest.fixture
def old(built, tmp_path):
    return netcdf_of_version_1(built, tmp_path / "old.nc")


def test_the_table_names_all_that_version_2_brought():
    assert set(schema.SINCE_VERSION_2) == set(NEW)
    assert schema.SCHEMA_VERSION == 2


def test_an_old_file_opens_as_the_new_one_does(built, old):
    with isoklx.open_sweep(built) as new, isoklx.open_sweep(old) as ds:
        assert ds.attrs["schema_version"] == schema.SCHEMA_VERSION
        xr.testing.assert_identical(ds, new)
        assert {name: ds[name].dtype.kind for name in ds} == {
            name: new[name].dtype.kind for name in new
        }


def test_an_old_zarr_store_opens_as_the_new_one_does(sample, built, tmp_path):
    pytest.importorskip("zarr", reason="needs the extra zarr")
    store = zarr_of_version_1(isoklx.build(sample, tmp_path / "old.zarr").out)
    with isoklx.open_sweep(built) as new, isoklx.open_sweep(store) as ds:
        xr.testing.assert_equal(ds, new)


def test_an_old_file_is_verified(old, sample):
    assert verify(old) == []
    assert verify(old, sample) == []


def test_a_build_over_an_old_file_parses_every_cell(old, sample, built):
    report = isoklx.build(sample, old)
    assert report.written
    assert report.unchanged == ()
    with netCDF4.Dataset(old) as file:
        assert file.schema_version == schema.SCHEMA_VERSION
        assert set(NEW) <= set(file.variables)
    assert isoklx.build(sample, old).unchanged == report.read


def test_an_old_file_is_converted_to_a_new_one(old, built, tmp_path):
    with (
        isoklx.open_sweep(convert(old, tmp_path / "new.nc")) as ds,
        isoklx.open_sweep(built) as new,
    ):
        xr.testing.assert_equal(ds, new)
    with netCDF4.Dataset(tmp_path / "new.nc") as file:
        assert file.schema_version == schema.SCHEMA_VERSION
        assert file["seed"].dtype == np.int64
    assert verify(tmp_path / "new.nc") == []


def test_what_is_not_of_version_1_is_left_alone():
    ds = xr.Dataset({"seed": ("cell", np.array([1], dtype="int32"))})
    assert upgraded(ds) is ds
    assert upgraded(ds.assign_attrs(schema_version=2)).seed.dtype == np.int32
