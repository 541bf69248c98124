"""Texts from gens.jsonl in files and Datasets."""

import json
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
from xarray.backends.netCDF4_ import NetCDF4ArrayWrapper

import isoklx
from isoklx import schema
from isoklx.simulation.sweep import grid, simulate
from isoklx.store import formats
from isoklx.sweeps.build import convert
from isoklx.sweeps.verification import verify

FORMATS = ["sweep.nc", pytest.param("sweep.zarr", marks=pytest.mark.filterwarnings("ignore"))]


@pytest.fixture
def root(tmp_path):
    cells = grid(methods=["pca"], windows=[8, 16], seeds=[0], prompts=2, texts=True)
    simulate(tmp_path / "runs", cells)
    return tmp_path / "runs"


def plain(root):
    """Read the texts of a root with a plain loop."""
    found = {}
    for file in root.glob("*/gens.jsonl"):
        for each in map(json.loads, file.read_text().splitlines()):
            found[file.parent.name, each["alpha"], each["prompt_idx"]] = each
    return found


def same(a, b):
    assert set(a.variables) == set(b.variables)
    for name in a.variables:
        if a[name].dtype.kind in "OUT":
            assert a[name].values.astype(str).tolist() == b[name].values.astype(str).tolist(), name
        else:
            np.testing.assert_array_equal(a[name].values, b[name].values)


@pytest.mark.parametrize("name", FORMATS)
def test_every_text_equals_its_line(root, tmp_path, name):
    report = isoklx.build(root, tmp_path / name, texts=True)
    assert report.notes == ()
    with isoklx.open_sweep(report.out) as ds:
        for (run_id, alpha, prompt), expected in plain(root).items():
            one = ds.sel(run_id=run_id, alpha=alpha, prompt=prompt).load()
            assert one["gen_text"].item() == expected["gen_text"]
            assert one["prompt_text"].item() == expected["prompt"]
            chars = one["token_chars"].values[: expected["gen_len"]]
            assert chars.tolist() == [*map(len, expected["tokens"])]
    assert verify(report.out, root) == []


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_and_its_root_have_the_same_texts(root, tmp_path, name):
    out = isoklx.build(root, tmp_path / name, texts=True).out
    with isoklx.open_sweep(out) as ds, isoklx.open_sweep(root, texts=True) as opened:
        assert set(schema.TEXTS) <= set(ds.variables)
        same(ds, opened)
    with (
        isoklx.open_sweep(convert(out, tmp_path / "copy.nc")) as copy,
        isoklx.open_sweep(out) as ds,
    ):
        same(ds, copy)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("first", [False, True])
def test_adding_and_removing_texts_equals_a_build_from_scratch(root, tmp_path, name, first):
    isoklx.build(root, tmp_path / name, texts=first)
    report = isoklx.build(root, tmp_path / name, texts=not first)
    assert report.written
    isoklx.build(root, tmp_path / f"fresh{name[5:]}", texts=not first)
    with (
        isoklx.open_sweep(report.out) as ds,
        isoklx.open_sweep(tmp_path / f"fresh{name[5:]}") as fresh,
    ):
        assert ("gen_text" in ds) == (not first)
        same(ds, fresh)


@pytest.mark.parametrize("name", FORMATS)
def test_only_a_cell_whose_texts_changed_is_parsed_again(root, tmp_path, name):
    out = isoklx.build(root, tmp_path / name, texts=True).out
    assert not isoklx.build(root, out, texts=True).written
    changed = sorted(root.iterdir())[0]
    text = (changed / "gens.jsonl").read_text()
    (changed / "gens.jsonl").write_text(text.replace("This", "That"))
    report = isoklx.build(root, out, texts=True)
    assert report.unchanged == (sorted(root.iterdir())[1].name,)
    with isoklx.open_sweep(out) as ds, isoklx.open_sweep(root, texts=True) as opened:
        same(ds, opened)


def test_a_file_without_texts_is_unchanged(root, tmp_path):
    with_lines = isoklx.build(root, tmp_path / "a.nc").out
    for file in root.glob("*/gens.jsonl"):
        file.unlink()
    assert not isoklx.build(root, with_lines).written
    with isoklx.open_sweep(with_lines) as ds:
        assert set(ds.variables) == set(schema.VARIABLES)


def test_opening_reads_no_text(root, tmp_path, monkeypatch):
    out = isoklx.build(root, texts=True).out
    read = []
    values = NetCDF4ArrayWrapper._getitem
    monkeypatch.setattr(
        NetCDF4ArrayWrapper,
        "_getitem",
        lambda self, key: read.append(self.variable_name) or values(self, key),
    )
    with isoklx.open_sweep(out) as ds:
        isoklx.survival(ds, by="method")
        isoklx.headline_table(ds)
        assert not set(read) & set(schema.TEXTS)
        assert ds["gen_text"].isel(cell=0, alpha=1, prompt=0).item() != ""
    assert read[-1] == "gen_text"


def test_a_selection_is_saved_with_its_texts(root, tmp_path):
    with isoklx.open_sweep(isoklx.build(root, texts=True).out) as ds:
        part = isoklx.select(ds, window=8).load()
        part.drop_vars("token_chars").to_netcdf(tmp_path / "part.nc")
    with isoklx.open_sweep(tmp_path / "part.nc") as saved:
        assert saved["gen_text"].values.tolist() == part["gen_text"].values.tolist()


def test_sweeps_with_and_without_texts_are_joined(root, tmp_path):
    simulate(tmp_path / "others", grid(methods=["mean_diff"], windows=[8], seeds=[0], prompts=2))
    texts = isoklx.build(root, texts=True).out
    with isoklx.open_sweep([texts, tmp_path / "others"]) as ds:
        lacks = ds["method"].values == "mean_diff"
        assert (ds["gen_text"].values[lacks] == "").all()
        assert (ds["token_chars"].values[lacks] == 0).all()
        assert (ds["gen_text"].isel(alpha=0).values[~lacks] != "").all()
    with isoklx.open_sweep([texts, root]) as ds:  # parts of the same cells
        assert ds.sizes["cell"] == 2
        assert (ds["gen_text"].isel(alpha=0).values != "").all()


def test_skipped_cells_are_recorded_in_the_file(root, tmp_path):
    bad = root / "broken"
    bad.mkdir()
    (bad / "calib.json").write_text("{")
    out = isoklx.build(root).out
    with isoklx.open_sweep(out) as ds:
        assert ds.attrs["skipped_cells"].startswith("broken/calib.json: not JSON")
    with pytest.warns(UserWarning, match="skipped"), isoklx.open_sweep(root) as ds:
        assert ds.attrs["skipped_cells"].startswith("broken/calib.json: not JSON")
    (bad / "calib.json").unlink()
    bad.rmdir()
    isoklx.build(root)
    with isoklx.open_sweep(out) as ds:
        assert "skipped_cells" not in ds.attrs


def test_the_command_has_the_flag(root):
    words = [sys.executable, "-m", "isoklx", "build", str(root), "--texts"]
    assert subprocess.run(words, check=True, capture_output=True).returncode == 0
    out = root.with_name("runs.nc")
    with isoklx.open_sweep(out) as ds:
        assert "gen_text" in ds
    assert formats.size(out) > 0
    with xr.open_dataset(out) as ds:  # xarray alone reads them too
        assert ds["gen_text"].isel(cell=0, alpha=0, prompt=0).item() != ""
