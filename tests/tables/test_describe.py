import json

import netCDF4
import numpy as np
import pytest

import isoklx
from isoklx.simulation.sweep import CellSpec, simulate
from isoklx.tables.describe import describe, described
from tests.handmade import make_cell


def test_a_file_fits_a_screen(sample, tmp_path):
    isoklx.build(sample, tmp_path / "sample.nc")
    text = describe(tmp_path / "sample.nc")
    assert len(text.splitlines()) <= 40
    assert max(map(len, text.splitlines())) <= 100
    for part in (
        "12 cells, 10 distinct",
        "example/simulated-8B  pca                   64      2      0, 1",
        "0, 0.25, 0.5, 1, 2, 4",
        "64 tokens",
        "8, and 4 yes/no questions",
        "in 12 of 12 cells",
        "simulated-8B_pca_s0_w64 = simulated-8B_pca_s1_w64",
        "MB, schema 3)",
        "JSON of 12 runs under sample",
        "build sample",
    ):
        assert " ".join(part.split()) in " ".join(text.split())


def test_a_zarr_store_is_named_with_its_size(sample, tmp_path):
    pytest.importorskip("zarr", reason="needs the extra zarr")
    isoklx.build(sample, tmp_path / "sample.zarr")
    files = (tmp_path / "sample.zarr").rglob("*")
    size = sum(file.stat().st_size for file in files if file.is_file())
    text = " ".join(describe(tmp_path / "sample.zarr").split())
    assert "(Zarr store, " in text
    said = float(text.split("(Zarr store, ")[1].split(" MB")[0])
    assert said == pytest.approx(size / 1e6, abs=0.05)


def test_a_runs_root_is_named(sample):
    assert "(a runs root, schema 3)" in " ".join(describe(sample).split())


def test_share_of_present_values(sample_ds, sample):
    share = 100 * float(sample_ds.kl.notnull().mean())
    assert f"{share:.0f}% of {sample_ds.kl.size} values" in describe(sample)


def test_each_history_step_has_its_line(sample_ds, tmp_path):
    steps = "Sat Nov 28 2026: ncks -d cell,0 a.nc b.nc\n2026-11-28T20:22:17Z isoklx: build a"
    sample_ds.assign_attrs(history=steps).to_netcdf(tmp_path / "b.nc")
    first, then = describe(tmp_path / "b.nc").splitlines()[-2:]
    assert first == "history     Sat Nov 28 2026: ncks -d cell,0 a.nc b.nc"
    assert then == "            2026-11-28T20:22:17Z isoklx: build a"


def test_calibrated_cells_without_results(tmp_path):
    make_cell(tmp_path, "a")
    text = describe(tmp_path)
    assert "none, calibrated only" in text
    assert "no values, in 0 of 1 cell\n" in text


def test_many_cells_and_labels_fit_a_screen(tmp_path):
    for i in range(30):
        make_cell(tmp_path, f"c{i}", calib={"method": f"method{i}"}, results=_doses(40))
    text = describe(tmp_path)
    assert len(text.splitlines()) <= 40
    assert "and 18 more rows" in text


def _doses(count: int) -> str:
    return "alpha\n" + "".join(f"{i / 4}\n" for i in range(count))


def test_control_characters_in_names_are_escaped(tmp_path):
    make_cell(tmp_path / "runs", "a", calib={"model": "org/\u202eevil", "method": "p\u200bca"})
    file = isoklx.build(tmp_path / "runs").out
    with netCDF4.Dataset(file, "a") as opened:  # as another program could write it
        opened["method"][0] = "pca\n\x1b[2J"
        opened.title = "\x1b]0;title\x07"
        opened.source = "one\x1b[31m"
    text = describe(file)
    assert all(line.isprintable() for line in text.splitlines())
    assert "\\u202eevil" in text
    assert "pca\\n\\x1b[2J" in text


def test_seeds_and_windows_are_exact(tmp_path):
    make_cell(tmp_path, "a", calib={"seed": 2**40 + 1, "window": 2**20 + 1})
    text = describe(tmp_path)
    assert str(2**40 + 1) in text
    assert f"{2**20 + 1} tokens" in text


def test_object_for_programs_equals_the_sweep(sample):
    found = json.loads(json.dumps(described(sample)))
    with isoklx.open_sweep(sample) as ds:
        assert [cell["run_id"] for cell in found["cells"]] == ds.run_id.values.tolist()
        assert {cell["method"] for cell in found["cells"]} == set(ds.method.values)
        assert found["alphas"] == ds.alpha.values.tolist()
        assert (found["prompts"], found["questions"], found["tokens"]) == (8, 4, 64)
        for name, present in found["present"].items():
            assert present == {"values": np.isfinite(ds[name].values).sum(), "of": ds[name].size}
    assert (found["n"], found["n_distinct"]) == (12, 10)
    assert found["repeats"][0]["run_ids"] == [
        "simulated-1B_pca_s0_w64",
        "simulated-1B_pca_s1_w64",
    ]


def test_object_for_programs_without_results(tmp_path):
    simulate(tmp_path, [CellSpec(lacks="sweep")])
    found = json.loads(json.dumps(described(tmp_path)))
    assert (found["n"], found["alphas"], found["repeats"]) == (1, [], [])
