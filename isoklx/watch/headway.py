"""How far a sweep has come, and how long it still takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from isoklx.cells.sources import AT_ONCE, CALIBRATION
from isoklx.watch.states import WORKING, CellState
from isoklx.watch.traces import RESULTS_OF_A_SWEEP, Traces


@dataclass(frozen=True)
class Headway:
    """How far a sweep has come.

    Parameters
    ----------
    done, cells : int
        Cells that are done, and all that there are or will be.
    share : float, optional
        Of the whole work, in [0, 1]: each dose and each calibration is one piece of it. None where
        it cannot be told because no cell is done.
    seconds_left : float, optional
        None where it cannot be told.
    """

    done: int
    cells: int
    share: float | None
    seconds_left: float | None


def headway(
    states: Sequence[CellState], traces: Mapping[str, Traces], cells: int | None = None
) -> Headway:
    """Tell how far a sweep has come, and how long it still takes.

    Parameters
    ----------
    states : sequence of CellState
        What each cell is doing.
    traces : mapping of str to Traces
        What lies on disk of each.
    cells : int, optional
        How many there will be; by default those of which something is there.

    Returns
    -------
    Headway

    Notes
    -----
    The pieces of work that are left, over the number of cells that are worked at, times the median
    time of a piece; and at least the time of the pieces that one of these cells has left. The time
    of a piece is that from ``calib.json`` to the last result of a cell, over its doses. A
    calibration counts as one dose, for nothing on disk says how long it took. It cannot be told
    while nobody works at any cell, before a cell is done, or where all files are of one moment, as
    those of a copied folder are. What is broken is left out: nobody is at work on it.

    Examples
    --------
    >>> cells = [CellState("a", "done", 5, 5, True), CellState("b", "sweeping", 2, 5, True)]
    >>> minute = 60 * 10**9
    >>> files = {"calib.json": (99, minute), "pmass.json": (99, 11 * minute)}
    >>> headway(cells, {"a": Traces("a", files=files), "b": Traces("b")})
    Headway(done=1, cells=2, share=0.75, seconds_left=360.0)
    """
    done = [each for each in states if each.state == "done"]
    total = max(len(states), cells or 0)
    most = max((each.doses for each in done), default=0)
    if len(done) == total:
        return Headway(len(done), total, 1.0 if total else None, 0.0 if total else None)
    if not most:
        return Headway(len(done), total, None, None)
    left = {each.run_id: _left(each) for each in states}
    unknown = (total - len(states)) * (1 + most)
    made = sum(each.doses + each.calibrated for each in states)
    share = made / (made + sum(left.values()) + unknown)
    return Headway(len(done), total, share, _seconds_left(states, traces, left, unknown))


def _left(cell: CellState) -> int:
    """Pieces of work."""
    if cell.state == "done" or cell.expected is None:
        return 0
    # A cell that has every dose of the others and is still worked at has one more at least.
    return (not cell.calibrated) + max(cell.expected - cell.doses, 1)


def _seconds_left(
    states: Sequence[CellState],
    traces: Mapping[str, Traces],
    left: Mapping[str, int],
    unknown: int,
) -> float | None:
    times = [
        seconds
        for each in states
        if each.doses and (seconds := _seconds_of_sweep(traces[each.run_id]) / each.doses)
    ]
    working = [left[each.run_id] for each in states if each.state in WORKING]
    if not times or not working:
        return None
    healthy = sum(left[each.run_id] for each in states if each.state != "broken")
    return median(times) * max((healthy + unknown) / len(working), *working)


def _seconds_of_sweep(traces: Traces) -> float:
    """From the calibration to the last result; 0 where that cannot be told."""
    results = [traces.files[file][1] for file in RESULTS_OF_A_SWEEP if file in traces.files]
    if not results or CALIBRATION not in traces.files:
        return 0.0
    took = max(results) - traces.files[CALIBRATION][1]
    return took / 1e9 if took > AT_ONCE else 0.0
