"""Files of version 2 can be read, files of version 1 cannot."""

from __future__ import annotations

import json
import os
import shutil

import netCDF4
import numpy as np
import pytest
import xarray as xr

import isoklx
from isoklx import schema
from isoklx.cli.main import main
from isoklx.errors import DatasetError
from isoklx.store.versions import upgraded
from isoklx.sweeps.build import convert
from isoklx.sweeps.verification import verify
from tests.two_sweeps import edit

LABELS = ("sign", "temperature")
NEW = (*LABELS, "answer")
"""Variables added in version 3."""


@pytest.fixture(scope="module")
def root(sample, tmp_path_factory):
    """The sample, with one cell on the other side and one with sampling."""
    root = shutil.copytree(sample, tmp_path_factory.mktemp("runs") / "runs")
    pca, other = (root / f"simulated-1B_{name}_s0_w64" for name in ("pca", "mean_diff"))
    c_star = json.loads((pca / "calib.json").read_text())["c_star"]
    edit(pca / "calib.json", c_star=-c_star)
    edit(other / "calib.json", measured_with={"temperature": 0.7})
    for pmass in root.glob("*/pmass.json"):
        content = json.loads(pmass.read_text())
        del content["answer_key"]
        pmass.write_text(json.dumps(content))
    for cell in (pca, other):
        (cell / "gens.jsonl").unlink()
        (cell / "history.json").unlink()
        (cell / "results.csv").unlink()
        for file in cell.iterdir():
            os.utime(file, (0, 0))
    return root


@pytest.fixture(scope="module")
def built(root, tmp_path_factory):
    return isoklx.build(root, tmp_path_factory.mktemp("built") / "new.nc").out


@pytest.fixture
def old(built, tmp_path):
    """The same file in version 2."""
    with netCDF4.Dataset(built) as source, netCDF4.Dataset(tmp_path / "old.nc", "w") as target:
        _copy(source, target)
        target.schema_version = 2
        _copy(source["build"], target.createGroup("build"))
    return tmp_path / "old.nc"


def _copy(source: netCDF4.Dataset, target: netCDF4.Dataset) -> None:
    source.set_auto_maskandscale(False)
    target.setncatts({name: source.getncattr(name) for name in source.ncattrs()})
    for name, dimension in source.dimensions.items():
        target.createDimension(name, len(dimension))
    for name, old in source.variables.items():
        if name in NEW:
            continue
        attributes = {key: old.getncattr(key) for key in old.ncattrs()}
        fill = attributes.pop("_FillValue", None)
        new = target.createVariable(name, old.dtype, old.dimensions, fill_value=fill)
        new.set_auto_maskandscale(False)
        new.setncatts(attributes)
        new[:] = old[:]


def test_version_3_added_the_labels_that_are_never_pooled():
    assert set(schema.SPLIT) == set(LABELS)
    assert schema.SCHEMA_VERSION == 3


def test_older_file_opens_like_a_new_one(built, old):
    with isoklx.open_sweep(built) as new, isoklx.open_sweep(old) as ds:
        assert ds.attrs["schema_version"] == schema.SCHEMA_VERSION
        xr.testing.assert_identical(ds, new)
        assert {name: ds[name].dtype.kind for name in ds.variables} == {
            name: new[name].dtype.kind for name in new.variables
        }
        sides = dict(zip(ds.run_id.values, ds.sign.values, strict=True))
        assert [run_id for run_id, side in sides.items() if side == "-"] == [
            "simulated-1B_pca_s0_w64"
        ]
        sampled = ds.temperature.sel(run_id="simulated-1B_mean_diff_s0_w64").item()
        assert sampled == 0.7
        assert int(ds.temperature.isnull().sum()) == 11


def test_older_zarr_store_opens_like_a_new_one(root, built, tmp_path):
    pytest.importorskip("zarr", reason="needs the extra zarr")
    store = isoklx.build(root, tmp_path / "old.zarr").out
    for name in NEW:
        shutil.rmtree(store / name)
    (store / ".zmetadata").unlink(missing_ok=True)
    attributes = json.loads((store / ".zattrs").read_text())
    (store / ".zattrs").write_text(json.dumps({**attributes, "schema_version": 2}))
    with isoklx.open_sweep(built) as new, isoklx.open_sweep(store) as ds:
        xr.testing.assert_equal(ds, new)


def test_selection_of_an_older_file_has_a_sign(old, tmp_path):
    with xr.open_dataset(old) as ds:
        one = ds.isel(cell=ds.run_id.values.tolist().index("simulated-1B_pca_s0_w64"))
        one[["kl", "c_star", "gen_len"]].to_netcdf(tmp_path / "one.nc")
        one[["kl"]].to_netcdf(tmp_path / "less.nc")
    with isoklx.open_sweep(tmp_path / "one.nc") as ds:
        assert ds.sign.item() == "-"
        assert np.isnan(ds.temperature.item())
    with isoklx.open_sweep(tmp_path / "less.nc") as ds:
        assert "sign" not in ds


def test_an_older_file_is_verified(old, root):
    assert verify(old) == []
    assert verify(old, root) == []


def test_a_build_over_an_older_file_parses_every_cell(old, root):
    report = isoklx.build(root, old)
    assert report.written
    assert report.unchanged == ()
    with netCDF4.Dataset(old) as file:
        assert file.schema_version == schema.SCHEMA_VERSION
        assert set(NEW) <= set(file.variables)
    assert isoklx.build(root, old).unchanged == report.read


def test_an_older_file_is_converted_to_a_new_one(old, built, tmp_path):
    with (
        isoklx.open_sweep(convert(old, tmp_path / "new.nc")) as ds,
        isoklx.open_sweep(built) as new,
    ):
        xr.testing.assert_equal(ds, new)
    with netCDF4.Dataset(tmp_path / "new.nc") as file:
        assert file.schema_version == schema.SCHEMA_VERSION
    assert verify(tmp_path / "new.nc") == []


def test_a_file_of_version_1_says_to_build_it_again(old, capsys):
    with netCDF4.Dataset(old, "a") as file:
        file.schema_version = 1
    message = "schema 1, this one reads from 2 on.*build it again from its runs"
    for reading in (isoklx.open_sweep, verify, lambda path: convert(path, path.parent / "new.nc")):
        with pytest.raises(DatasetError, match=message):
            reading(old)
    assert main(["info", str(old)]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_older_file_with_unreadable_settings_is_an_error(old):
    with netCDF4.Dataset(old, "a") as file:
        file["measured_with"][0] = '{"temperature": "hot"}'
    with pytest.raises(
        DatasetError, match=r"measured_with\.temperature must be a number, got 'hot'"
    ):
        isoklx.open_sweep(old)


def test_other_versions_are_unchanged():
    ds = xr.Dataset({"c_star": ("cell", [-1.0])})
    assert upgraded(ds) is ds
    assert upgraded(ds.assign_attrs(schema_version=2)).sign.item() == "-"
