"""How far, and how long: counted by hand."""

import pytest

from isoklx.watch.disk import DiskState
from isoklx.watch.states import CellState, progress

SECOND = 10**9


def swept(name, seconds):
    """A cell whose sweep took so long after its calibration."""
    files = {"calib.json": (9, 100 * SECOND), "history.json": (9, 100 * SECOND)}
    files |= {"trajectory.json": (9, (100 + seconds) * SECOND), "pmass.json": (9, 0)}
    return DiskState(name, files=files)


def done(name, doses=5):
    return CellState(name, "done", doses, doses, True)


def test_all_done_is_all_of_it():
    found = progress([done("a"), done("b", 2)], {"a": swept("a", 50), "b": swept("b", 50)})
    assert (found.done, found.cells, found.share, found.seconds_left) == (2, 2, 1, 0)


def test_no_cell_is_no_share():
    assert progress([], {}).share is None
    assert progress([], {}, cells=3).cells == 3


def test_before_a_cell_is_done_nothing_can_be_told():
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
    # Of 10 s a dose: 3, 6 and 5 pieces by the two that are worked at; the broken one by nobody.
    assert found.seconds_left == pytest.approx(10 * 14 / 2)
    found = progress(states, traces, cells=7)  # two more of 6
    assert found.share == pytest.approx(10 / 42)
    assert found.seconds_left == pytest.approx(10 * 26 / 2)


def test_it_takes_at_least_as_long_as_the_cell_that_has_most_left():
    states = [done("a"), *(CellState(name, "sweeping", 4, 5, True) for name in "bcd")]
    states.append(CellState("e", "calibrating", 0, 5))
    traces = {each.run_id: DiskState(each.run_id) for each in states} | {"a": swept("a", 50)}
    assert progress(states, traces).seconds_left == pytest.approx(10 * 6)


def test_the_time_of_a_dose_is_the_median_over_cells():
    states = [*map(done, "abc"), CellState("d", "sweeping", 4, 5, True)]
    traces = {"a": swept("a", 50), "b": swept("b", 100), "c": swept("c", 5000), "d": DiskState("d")}
    assert progress(states, traces).seconds_left == pytest.approx(20)


def test_a_cell_that_is_worked_at_has_a_piece_left_whatever_it_has():
    states = [done("a"), CellState("b", "sweeping", 5, 5, True)]
    found = progress(states, {"a": swept("a", 50), "b": DiskState("b")})
    assert found.share == pytest.approx(12 / 13)
    assert found.seconds_left == pytest.approx(10)


@pytest.mark.parametrize("seconds", [0, 1, -500])
def test_files_of_one_moment_as_of_a_copy_tell_no_time(seconds):
    states = [done("a"), CellState("b", "sweeping", 2, 5, True)]
    found = progress(states, {"a": swept("a", seconds), "b": DiskState("b")})
    assert found.seconds_left is None
    assert found.share is not None


def test_while_nobody_works_no_time_can_be_told():
    states = [done("a"), CellState("b", "stale", 2, 5, True), CellState("c", "waiting", 0, 5)]
    traces = {"a": swept("a", 50), "b": DiskState("b"), "c": DiskState("c")}
    assert progress(states, traces).seconds_left is None
