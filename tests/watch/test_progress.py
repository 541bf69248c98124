"""Progress and time left, counted by hand."""

import pytest

from isoklx.watch.disk import DiskState
from isoklx.watch.states import CellState, progress

SECOND = 10**9


def swept(name, seconds):
    """Return a cell whose sweep took `seconds` after its calibration."""
    files = {"calib.json": (9, 100 * SECOND), "history.json": (9, 100 * SECOND)}
    files |= {"trajectory.json": (9, (100 + seconds) * SECOND), "pmass.json": (9, 0)}
    return DiskState(name, files=files)


def done(name, doses=5):
    return CellState(name, "done", doses, doses, True)


def test_with_all_cells_done_the_share_is_1():
    found = progress([done("a"), done("b", 2)], {"a": swept("a", 50), "b": swept("b", 50)})
    assert (found.done, found.cells, found.share, found.seconds_left) == (2, 2, 1, 0)


def test_without_cells_there_is_no_share():
    assert progress([], {}).share is None
    assert progress([], {}, cells=3).cells == 3


def test_before_a_cell_is_done_progress_is_unknown():
    states = [CellState("a", "sweeping", 2, None, True)]
    found = progress(states, {"a": swept("a", 50)})
    assert (found.share, found.seconds_left) == (None, None)


def test_doses_and_calibrations_are_pieces_of_work():
    states = [
        done("a"),  # 6 of 6
        CellState("b", "sweeping", 2, 5, True),  # 3 of 6
        CellState("c", "calibrating", 0, 5),  # 0 of 6
        CellState("d", "waiting", 0, 5, True),  # 1 of 6
        CellState("e", "broken", 0, 5),  # 0 of 6
    ]
    traces = {each.run_id: DiskState(each.run_id) for each in states} | {"a": swept("a", 50)}
    found = progress(states, traces)
    assert found.share == pytest.approx(10 / 30)
    # At 10 s per dose: 3, 6 and 5 pieces over the two cells being worked on; not the broken one.
    assert found.seconds_left == pytest.approx(10 * 14 / 2)
    found = progress(states, traces, cells=7)  # two more of 6
    assert found.share == pytest.approx(10 / 42)
    assert found.seconds_left == pytest.approx(10 * 26 / 2)


def test_the_cell_with_most_work_left_bounds_the_time():
    states = [done("a"), *(CellState(name, "sweeping", 4, 5, True) for name in "bcd")]
    states.append(CellState("e", "calibrating", 0, 5))
    traces = {each.run_id: DiskState(each.run_id) for each in states} | {"a": swept("a", 50)}
    assert progress(states, traces).seconds_left == pytest.approx(10 * 6)


def test_the_time_of_a_dose_is_the_median_over_cells():
    states = [*map(done, "abc"), CellState("d", "sweeping", 4, 5, True)]
    traces = {"a": swept("a", 50), "b": swept("b", 100), "c": swept("c", 5000), "d": DiskState("d")}
    assert progress(states, traces).seconds_left == pytest.approx(20)


def test_a_cell_being_worked_on_has_at_least_one_piece_left():
    states = [done("a"), CellState("b", "sweeping", 5, 5, True)]
    found = progress(states, {"a": swept("a", 50), "b": DiskState("b")})
    assert found.share == pytest.approx(12 / 13)
    assert found.seconds_left == pytest.approx(10)


@pytest.mark.parametrize("seconds", [0, 1, -500])
def test_files_with_one_time_give_no_time_left(seconds):
    states = [done("a"), CellState("b", "sweeping", 2, 5, True)]
    found = progress(states, {"a": swept("a", seconds), "b": DiskState("b")})
    assert found.seconds_left is None
    assert found.share is not None


def test_without_cells_being_worked_on_the_time_is_unknown():
    states = [done("a"), CellState("b", "stale", 2, 5, True), CellState("c", "waiting", 0, 5)]
    traces = {"a": swept("a", 50), "b": DiskState("b"), "c": DiskState("c")}
    assert progress(states, traces).seconds_left is None
