"""Number of complete doses of each cell."""

import json
from pathlib import Path

import isoklx
from isoklx.errors import CellError
from isoklx.simulation.sweep import CellSpec, simulate
from isoklx.watch.disk import BuildResult, build_result
from tests.handmade import kl, make_cell, write


def read(root, *skipped):
    with isoklx.open_sweep(root) as ds:
        return build_result(ds, root, skipped)


def test_doses_are_counted_per_cell(tmp_path):
    make_cell(tmp_path, "a", trajectory=kl({"0": [[0.0]], "1": [[0.1]]}))
    make_cell(tmp_path, "b", trajectory=kl({"1": [[0.1]], "2": [[0.2]], "4": [[0.3]]}))
    make_cell(tmp_path, "c")
    assert read(tmp_path) == BuildResult({"a": 2, "b": 3, "c": 0})


def test_a_dose_counts_once_whichever_file_has_it(tmp_path):
    for lacks in ("kl", "pmass"):
        simulate(tmp_path, [CellSpec(method=lacks, lacks=lacks, alphas=(0.0, 1.0), window=8)])
    assert sorted(read(tmp_path).doses.values()) == [2, 2]


def test_recorded_complete_doses_take_precedence(tmp_path):
    folder = make_cell(
        tmp_path,
        "a",
        trajectory=kl({"0.0": [[0.0]], "1.0": [[0.1]]}),  # which is written first
        pmass={"computed": False, "completed_alphas": ["0.0"]},
    )
    found = read(tmp_path)
    assert (found.doses, found.by_dose) == ({"a": 1}, {"a"})
    write(folder / "pmass.json", {"computed": False})
    found = read(tmp_path)
    assert (found.doses, found.by_dose) == ({"a": 2}, frozenset())


def test_cells_of_isoklx_run_need_no_record_of_complete_doses(tmp_path):
    pmass = {"computed": False, "completed_alphas": ["1.0"]}
    for name, made in (("a", {"isoklx": "0.1.0"}), ("b", {"torch": "2.13.0"})):
        calib = {"measured_with": made}
        make_cell(tmp_path, name, calib=calib, trajectory=kl({"1.0": [[0.1]]}), pmass=pmass)
    found = read(tmp_path)
    assert (found.doses, found.by_dose) == ({"a": 1, "b": 1}, {"b"})


def test_an_unreadable_file_records_no_doses(tmp_path):
    make_cell(tmp_path, "a", trajectory=kl({"1.0": [[0.1]]}))
    with isoklx.open_sweep(tmp_path) as ds:
        for content in ("{", "[]", "null", json.dumps({"completed_alphas": 3})):
            write(tmp_path / "a" / "pmass.json", content)
            assert build_result(ds, tmp_path, []).doses == {"a": 1}


def test_skipped_cells_are_keyed_by_name(tmp_path):
    make_cell(tmp_path, "a")
    error = CellError(Path("elsewhere/b"), "pmass.json", "broken")
    assert read(tmp_path, error).skipped == {"b": error}
