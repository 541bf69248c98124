"""What each cell of a sweep is doing, told from what lies on disk and what a build found in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal, get_args

from isoklx.cells.layout import AT_ONCE, BEING_WRITTEN, CALIBRATION, HISTORY
from isoklx.watch.disk import RESULTS_OF_A_SWEEP, Reading, Traces

State = Literal["broken", "stale", "sweeping", "calibrating", "waiting", "done"]

STATES: tuple[State, ...] = get_args(State)
"""All of them: those that somebody should look at first."""

WORKING: tuple[State, ...] = ("sweeping", "calibrating")
"""Those of a cell that somebody works at, as far as can be seen."""


@dataclass(frozen=True)
class CellState:
    """What a cell is doing.

    Parameters
    ----------
    run_id : str
        Its name.
    state : State
        As `cell_states` tells it.
    doses : int
        How many of its doses are complete.
    expected : int, optional
        How many it will have as far as can be told; None where no cell is done yet.
    calibrated : bool
        Whether it has its coefficient.
    idle : float
        Seconds since anything of it was written; NaN where nothing was.
    detail : str
        What there is to say beyond that: why it is broken, what a stale one was at.
    """

    run_id: str
    state: State
    doses: int = 0
    expected: int | None = None
    calibrated: bool = False
    idle: float = float("nan")
    detail: str = ""


def cell_states(
    traces: Mapping[str, Traces], reading: Reading, now: float, stale: float
) -> list[CellState]:
    """Tell what each cell is doing.

    Parameters
    ----------
    traces : mapping of str to Traces
        What lies on disk.
    reading : Reading
        What the last build found.
    now : float
        The time, in seconds since 1970.
    stale : float
        Seconds without anything written after which nobody seems to work at a cell any more.

    Returns
    -------
    list of CellState
        In the order of `STATES`, and by name.

    Notes
    -----
    A cell is

    *broken* when a build cannot read it: a file is no JSON, half written, or not of the format;
    *calibrating* when ``isoklx run`` keeps batches of it and there is no ``calib.json`` yet, or
    when another program has left a ``history.json`` without one;
    *sweeping* when it is calibrated and ``isoklx run`` keeps batches of it; or when another program
    writes it dose by dose (``completed_alphas`` in ``pmass.json``) and it has fewer doses than
    another cell;
    *stale* when it is one of these two and nothing of it was written for `stale` seconds;
    *waiting* when it is claimed and nothing is kept, its folder is empty, it is calibrated and
    nobody sweeps it, or no build could be made that reads it;
    *done* otherwise.

    Examples
    --------
    >>> from pathlib import Path
    >>> kept = Traces("a", kept={"calib-00-00000-8.npz": (99, 10**9)}, changed=10**9)
    >>> [each.state for now in (2, 700) for each in cell_states({"a": kept}, Reading(), now, 600)]
    ['calibrating', 'stale']
    """
    most = max(reading.doses.values(), default=0)
    found = [_state(each, reading, most) for each in traces.values()]
    expected = max((each.doses for each in found if each.state == "done"), default=None)
    aged = [_aged(each, traces[each.run_id].changed / 1e9, expected, now, stale) for each in found]
    return sorted(aged, key=lambda each: (STATES.index(each.state), each.run_id))


def _state(traces: Traces, reading: Reading, most: int) -> CellState:
    name, doses = traces.run_id, reading.doses.get(traces.run_id, 0)
    if begun := _uncalibrated(traces):
        return begun
    error = reading.skipped.get(name)
    if error is not None and error.reason != BEING_WRITTEN:
        where = f"{error.file}: " if error.file else ""
        return CellState(name, "broken", detail=f"{where}{error.reason}")
    fewer = name in reading.by_dose and doses < most
    if traces.kept is not None or fewer or error is not None:
        return CellState(name, "sweeping", doses, calibrated=True)
    if traces.swept and name in reading.doses:
        return CellState(name, "done", doses, calibrated=True)
    detail = "not read yet" if traces.swept else "calibrated"
    return CellState(name, "waiting", calibrated=True, detail=detail)


def _uncalibrated(traces: Traces) -> CellState | None:
    """The state of a cell without a coefficient, which a build would only miss a file of."""
    if CALIBRATION in traces.files or traces.swept:
        return None
    if traces.kept is not None:
        return CellState(traces.run_id, "calibrating", detail=f"try {traces.tries + 1}")
    if HISTORY in traces.files:
        return CellState(traces.run_id, "calibrating")
    if traces.files or (traces.folder and traces.folder.is_symlink()):
        return None
    return CellState(traces.run_id, "waiting", detail="" if traces.folder else "claimed")


def _aged(
    cell: CellState, changed: float, expected: int | None, now: float, stale: float
) -> CellState:
    """With what depends on the time, and on the other cells."""
    # Clocks of other machines may be ahead.
    idle = max(now - changed, 0.0) if changed else float("nan")
    state, detail = cell.state, cell.detail
    if cell.state in WORKING and idle > stale:
        state, detail = "stale", cell.state
    if cell.state == "done":
        expected = cell.doses
    elif expected is not None:
        expected = max(expected, cell.doses)
    return CellState(cell.run_id, state, cell.doses, expected, cell.calibrated, idle, detail)


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
