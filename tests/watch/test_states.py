"""State of a cell from its files and the last build."""

import math
from pathlib import Path

import pytest

from isoklx.errors import CellError
from isoklx.watch.disk import BuildResult, DiskState
from isoklx.watch.states import STATES, cell_states

NOW, LIMIT = 10_000.0, 600.0
RESULTS = ("calib.json", "trajectory.json", "pmass.json", "results.csv")


def traces(name="a", *files, folder=True, kept=None, age=60.0):
    at = int((NOW - age) * 1e9)
    return DiskState(
        name,
        Path("root", name) if folder else None,
        dict.fromkeys(files, (9, at)),
        None if kept is None else dict.fromkeys(kept, (9, at)),
        at,
    )


def told(*cells, **reading):
    found = cell_states({each.run_id: each for each in cells}, BuildResult(**reading), NOW, LIMIT)
    return found[0] if len(cells) == 1 else {each.run_id: each for each in found}


def test_a_claimed_cell_without_files_waits():
    found = told(traces(folder=False))
    assert (found.state, found.detail, found.calibrated) == ("waiting", "claimed", False)


def test_an_empty_folder_waits():
    assert told(traces()).state == "waiting"


def test_a_calibrated_cell_not_being_swept_waits_and_never_goes_stale():
    found = told(traces("a", "calib.json", "history.json", age=1e6), doses={"a": 0})
    assert (found.state, found.detail, found.calibrated) == ("waiting", "calibrated", True)


def test_checkpoints_without_a_calibration_mean_calibrating():
    found = told(traces(folder=False, kept=["made_with.json", "calib-00-0-8.npz"]))
    assert (found.state, found.detail, found.doses) == ("calibrating", "try 2", 0)


def test_a_history_without_a_calibration_means_calibrating():
    error = CellError(Path("a"), "calib.json", "missing")
    assert told(traces("a", "history.json"), skipped={"a": error}).state == "calibrating"


def test_checkpoints_of_a_calibrated_cell_mean_sweeping():
    cell = traces("a", *RESULTS, kept=["calib-00-0-8.npz", "eval-0123-0-8.npz"])
    found = told(cell, doses={"a": 2})
    assert (found.state, found.doses, found.expected) == ("sweeping", 2, None)


def test_an_unfinished_cell_expects_as_many_doses_as_a_finished_one():
    cells = [traces("a", *RESULTS, kept=[]), traces("b", *RESULTS), traces("c", "calib.json")]
    found = told(*cells, doses={"a": 2, "b": 5, "c": 0})
    assert [found[name].expected for name in "abc"] == [5, 5, 5]
    more = told(*cells, doses={"a": 7, "b": 5, "c": 0})
    assert (more["a"].state, more["a"].expected) == ("sweeping", 7)


def test_a_cell_written_dose_by_dose_is_done_with_as_many_as_others():
    cells = [traces("a", *RESULTS), traces("b", *RESULTS)]
    found = told(*cells, doses={"a": 2, "b": 5}, by_dose=frozenset("ab"))
    assert [found[name].state for name in "ab"] == ["sweeping", "done"]


def test_cells_with_fewer_doses_are_done_without_checkpoints():
    cells = [traces("a", *RESULTS, age=1e6), traces("b", *RESULTS)]
    found = told(*cells, doses={"a": 2, "b": 5})
    assert [(found[name].state, found[name].expected) for name in "ab"] == [
        ("done", 2),
        ("done", 5),
    ]


@pytest.mark.parametrize(
    ("cell", "was"),
    [
        (traces(folder=False, kept=["calib-00-0-8.npz"], age=601), "calibrating"),
        (traces("a", "history.json", age=601), "calibrating"),
        (traces("a", *RESULTS, kept=[], age=601), "sweeping"),
    ],
)
def test_a_cell_without_recent_writes_is_stale(cell, was):
    found = told(cell, doses={"a": 2})
    assert (found.state, found.detail) == ("stale", was)
    assert found.idle == pytest.approx(601)


def test_a_clock_that_is_ahead_gives_age_0():
    found = told(traces("a", *RESULTS, kept=[], age=-3600), doses={"a": 2})
    assert (found.state, found.idle) == ("sweeping", 0)


def test_an_unreadable_cell_is_broken_with_file_and_reason():
    error = CellError(Path("a"), "pmass.json", "not JSON, or half written: EOF")
    found = told(traces("a", *RESULTS, age=1e6), skipped={"a": error})
    assert (found.state, found.detail) == ("broken", f"pmass.json: {error.reason}")
    missing = CellError(Path("a"), "calib.json", "missing")
    assert told(traces("a", "pmass.json"), skipped={"a": missing}).state == "broken"


def test_an_invalid_folder_has_a_reason_without_a_file():
    error = CellError(Path("a"), "", "the folder's name is no text")
    assert told(traces("a", *RESULTS), skipped={"a": error}).detail == error.reason


def test_a_cell_being_written_is_not_broken():
    error = CellError(Path("a"), "pmass.json", "being written")
    assert told(traces("a", *RESULTS), skipped={"a": error}).state == "sweeping"


def test_a_cell_not_read_by_a_build_is_not_done():
    found = told(traces("a", *RESULTS))
    assert (found.state, found.detail) == ("waiting", "not read yet")


def test_states_that_need_attention_come_first():
    error = CellError(Path("a"), "pmass.json", "broken")
    found = cell_states(
        {
            "a": traces("a", *RESULTS),
            "b": traces("b"),
            "c": traces("c", kept=[]),
            "d": traces("d", *RESULTS, kept=[]),
            "e": traces("e", *RESULTS, kept=[], age=700),
            "f": traces("f", *RESULTS),
            "g": traces("g", *RESULTS),
        },
        BuildResult({"a": 1, "d": 1, "e": 1, "g": 1}, skipped={"f": error}),
        NOW,
        LIMIT,
    )
    assert [each.run_id for each in found] == list("fedcbag")
    assert tuple(dict.fromkeys(each.state for each in found)) == STATES


def test_without_files_there_is_no_age():
    found = told(DiskState("a", Path("root/a")))
    assert math.isnan(found.idle)
