"""State of each cell of a sweep, from its files on disk and the last build."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal, get_args

from isoklx.cells.layout import AT_ONCE, BEING_WRITTEN, CALIBRATION, HISTORY
from isoklx.watch.disk import RESULT_FILES, BuildResult, DiskState

State = Literal["broken", "stale", "sweeping", "calibrating", "waiting", "done"]

STATES: tuple[State, ...] = get_args(State)
"""All states, in the order of the attention that they need."""

WORKING: tuple[State, ...] = ("sweeping", "calibrating")
"""States of a cell that is being worked on."""


@dataclass(frozen=True)
class CellState:
    """State of a cell."""

    run_id: str
    state: State
    doses: int = 0  # complete ones
    expected: int | None = None  # None until a cell is done
    calibrated: bool = False
    idle: float = float("nan")  # seconds since the last write
    detail: str = ""  # why it is broken, or the state before it became stale


def cell_states(
    on_disk: Mapping[str, DiskState], built: BuildResult, now: float, stale: float
) -> list[CellState]:
    """Return the state of each cell, in the order of `STATES` and by name.

    A cell is

    *broken* if a build cannot read it: a file is not JSON, incomplete, or not of the format;
    *calibrating* if ``isoklx run`` keeps checkpoints of it and ``calib.json`` is missing, or if
    another program has left a ``history.json`` without one;
    *sweeping* if it is calibrated and ``isoklx run`` keeps checkpoints of it; or if another program
    writes it dose by dose (``completed_alphas`` in ``pmass.json``) and it has fewer doses than
    another cell;
    *stale* if it is one of these two and nothing of it was written for `stale` seconds;
    *waiting* if it is claimed without checkpoints, its folder is empty, it is calibrated and not
    being swept, or no build has read it yet;
    *done* otherwise.
    """
    most = max(built.doses.values(), default=0)
    found = [_state(each, built, most) for each in on_disk.values()]
    expected = max((each.doses for each in found if each.state == "done"), default=None)
    aged = [_aged(each, on_disk[each.run_id].changed / 1e9, expected, now, stale) for each in found]
    return sorted(aged, key=lambda each: (STATES.index(each.state), each.run_id))


def _state(on_disk: DiskState, built: BuildResult, most: int) -> CellState:
    name, doses = on_disk.run_id, built.doses.get(on_disk.run_id, 0)
    if begun := _uncalibrated(on_disk):
        return begun
    error = built.skipped.get(name)
    if error is not None and error.reason != BEING_WRITTEN:
        where = f"{error.file}: " if error.file else ""
        return CellState(name, "broken", detail=f"{where}{error.reason}")
    fewer = name in built.by_dose and doses < most
    if on_disk.kept is not None or fewer or error is not None:
        return CellState(name, "sweeping", doses, calibrated=True)
    if on_disk.swept and name in built.doses:
        return CellState(name, "done", doses, calibrated=True)
    detail = "not read yet" if on_disk.swept else "calibrated"
    return CellState(name, "waiting", calibrated=True, detail=detail)


def _uncalibrated(on_disk: DiskState) -> CellState | None:
    """Return the state of a cell that is not calibrated; None if it is."""
    if CALIBRATION in on_disk.files or on_disk.swept:
        return None
    if on_disk.kept is not None:
        return CellState(on_disk.run_id, "calibrating", detail=f"try {on_disk.tries + 1}")
    if HISTORY in on_disk.files:
        return CellState(on_disk.run_id, "calibrating")
    if on_disk.files or (on_disk.folder and on_disk.folder.is_symlink()):
        return None
    return CellState(on_disk.run_id, "waiting", detail="" if on_disk.folder else "claimed")


def _aged(
    cell: CellState, changed: float, expected: int | None, now: float, stale: float
) -> CellState:
    """Add what depends on the time and on the other cells."""
    # max: clocks of other machines may be ahead.
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
class Progress:
    """Progress of a sweep."""

    done: int
    cells: int
    # Fraction of the work, where each dose and calibration is one piece; None until a cell is done.
    share: float | None
    # None if unknown: no cell done or worked on, or all files of one moment (a copied folder).
    seconds_left: float | None


def progress(
    states: Sequence[CellState], on_disk: Mapping[str, DiskState], cells: int | None = None
) -> Progress:
    """Return the progress of a sweep of `cells` cells, by default those on disk.

    The time left is the number of pieces of work left, over the number of cells being worked on,
    times the median time of a piece; and at least that of the pieces that one of these cells has
    left. The time of a piece is that from ``calib.json`` to the last result of a cell, over its
    doses. A calibration counts as one dose, as nothing on disk says how long it took. Broken cells
    are left out.
    """
    done = [each for each in states if each.state == "done"]
    total = max(len(states), cells or 0)
    most = max((each.doses for each in done), default=0)
    if len(done) == total:
        return Progress(len(done), total, 1.0 if total else None, 0.0 if total else None)
    if not most:
        return Progress(len(done), total, None, None)
    left = {each.run_id: _left(each) for each in states}
    unknown = (total - len(states)) * (1 + most)
    made = sum(each.doses + each.calibrated for each in states)
    share = made / (made + sum(left.values()) + unknown)
    return Progress(len(done), total, share, _seconds_left(states, on_disk, left, unknown))


def _left(cell: CellState) -> int:
    """Return the number of pieces of work left."""
    if cell.state == "done" or cell.expected is None:
        return 0
    # A cell with all doses of the others that is still worked on has at least one more.
    return (not cell.calibrated) + max(cell.expected - cell.doses, 1)


def _seconds_left(
    states: Sequence[CellState],
    on_disk: Mapping[str, DiskState],
    left: Mapping[str, int],
    unknown: int,
) -> float | None:
    times = [
        seconds
        for each in states
        if each.doses and (seconds := _seconds_of_sweep(on_disk[each.run_id]) / each.doses)
    ]
    working = [left[each.run_id] for each in states if each.state in WORKING]
    if not times or not working:
        return None
    healthy = sum(left[each.run_id] for each in states if each.state != "broken")
    return median(times) * max((healthy + unknown) / len(working), *working)


def _seconds_of_sweep(on_disk: DiskState) -> float:
    """Return the seconds from calibration to the last result, 0 if unknown."""
    results = [on_disk.files[file][1] for file in RESULT_FILES if file in on_disk.files]
    if not results or CALIBRATION not in on_disk.files:
        return 0.0
    took = max(results) - on_disk.files[CALIBRATION][1]
    return took / 1e9 if took > AT_ONCE else 0.0
