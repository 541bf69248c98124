"""Text of a watch: the progress of the sweep, and a table of its cells."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import sys
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from isoklx.system.progress import duration
from isoklx.system.terminal import printable
from isoklx.watch.states import STATES, CellState, Progress
from isoklx.watch.watching import View

BAR = 24
LONGEST_NAME, SHORTEST_NAME = 48, 12
"""Columns of a cell's name, at most and in a narrow terminal; its end is kept."""

BETWEEN = 2
"""Columns between those of the table."""


def summary(view: View) -> str:
    """Return the progress of the sweep in one line."""
    progress = view.progress
    if not progress.cells:
        return f"{printable(view.root)}: no cells yet"
    others = _counted([each for each in view.states if each.state != "done"])
    absent = progress.cells - len(view.states)
    others += [f"{absent} not begun"] if absent else []
    parts = [
        f"{progress.done} of {progress.cells} {'cell' if progress.cells == 1 else 'cells'} done",
        *others,
    ]
    return f"{printable(view.root)}: {', '.join(parts)}{_rest(progress)}"


def page_line(view: View) -> str:
    """Return a line with the path and time of the page."""
    if view.read is None:
        return "no page yet: it is written when a cell can be read"
    return f"page: {printable(view.page)}, of the cells at {view.read:%H:%M:%S}"


def cells_table(
    states: Sequence[CellState], *, rows: int | None = None, columns: int | None = None
) -> list[str]:
    """Return a heading and a line for each cell, at most `rows` lines of `columns` columns.

    Cells beyond `rows` are counted in the last line; names are shortened first, then lines are cut.
    """
    if not states:
        return []
    fit = list(states)
    if rows is not None and len(states) + 1 > rows:
        fit = fit[: max(rows - 2, 0)]
    table = [("cell", "state", "doses", "written", ""), *map(_row, fit)]
    widths = [max(map(width, column)) for column in zip(*table, strict=True)]
    widths[0] = min(widths[0], _room_for_names(widths, columns))
    short = [[_shortened(name, widths[0]), *rest] for name, *rest in table]
    lines = [(" " * BETWEEN).join(map(_padded, row, widths)).rstrip() for row in short]
    if len(fit) < len(states):
        lines.append(f"and {', '.join(_counted(states[len(fit) :]))}")
    return lines if columns is None else [cut(line, columns) for line in lines]


def change(cell: CellState) -> str:
    """Return a cell in one self-contained line."""
    _, state, doses, _, detail = _row(cell)
    count = "" if doses == "-" else f", {doses} {'dose' if doses == '1' else 'doses'}"
    return f"{printable(cell.run_id)}: {state}{count}{f' ({detail})' if detail else ''}"


def bar(share: float | None) -> str:
    """Draw a fraction of the work as a bar."""
    return f"[{'#' * int(BAR * (share or 0)):<{BAR}}]"


def width(text: str) -> int:
    """Return the number of terminal columns of a text."""
    return sum(map(_width, text))


def cut(line: str, columns: int) -> str:
    """Cut a line to a number of columns."""
    if width(line) <= columns:
        return line
    while line and width(line) > columns - 3:
        line = line[:-1]
    return f"{line}..."


def _width(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _counted(states: Sequence[CellState]) -> list[str]:
    counts = Counter(each.state for each in states)
    return [f"{counts[state]} {state}" for state in STATES if counts[state]]


def _rest(progress: Progress) -> str:
    if progress.done == progress.cells:
        return ""
    share = "" if progress.share is None else f"; {math.floor(100 * progress.share)}% of the work"
    left = (
        "time left unknown"
        if progress.seconds_left is None
        else f"{duration(progress.seconds_left)} left"
    )
    return f"{share}{', ' if share else '; '}{left}"


def _row(cell: CellState) -> tuple[str, str, str, str, str]:
    doses = "-"
    if cell.calibrated and (cell.doses or cell.state in ("sweeping", "stale")):
        doses = f"{cell.doses}" + (f" of {cell.expected}" if cell.expected is not None else "")
    if cell.state == "done":
        doses = f"{cell.doses}"
    idle = "" if math.isnan(cell.idle) else _age(cell.idle)
    state = f"stale for {idle}" if cell.state == "stale" else cell.state
    return (
        printable(cell.run_id),
        state,
        doses,
        f"{idle} ago" * bool(idle),
        printable(cell.detail),
    )


def _age(seconds: float) -> str:
    for unit, of in (("s", 1), ("min", 60), ("h", 3600)):
        if seconds < 120 * of:
            return f"{seconds // of:.0f} {unit}"
    return f"{seconds // 86400:.0f} days"


def _room_for_names(widths: Sequence[int], columns: int | None) -> int:
    """Return the columns for names that leave state, doses and age visible."""
    if columns is None:
        return LONGEST_NAME
    left = columns - sum(widths[1:4]) - 3 * BETWEEN
    return min(LONGEST_NAME, max(SHORTEST_NAME, left))


def _shortened(name: str, to: int) -> str:
    if width(name) <= to:
        return name
    while width(name) > to - 3:
        name = name[1:]
    return f"...{name}"


def _padded(text: str, to: int) -> str:
    return text + " " * (to - width(text))


ENTER, LEAVE = "\033[?1049h\033[?25l", "\033[?25h\033[?1049l"
"""Switch to an alternative screen without a cursor, and back."""

HOME, END_OF_LINE, BELOW = "\033[H", "\033[K", "\033[J"


class Display(Protocol):
    """Display of one view after another."""

    def show(self, view: View) -> None:
        """Show a view instead of, or after, the previous one."""

    def close(self) -> None:
        """Leave the last view visible. Does not wait for anything, as it runs on Ctrl-C."""


def display(every: float) -> Display:
    """Return a display for standard output: a screen on a terminal, lines elsewhere."""
    terminal = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    return Screen(every) if terminal else Lines()


def whole(view: View, columns: int | None = None) -> list[str]:
    """Return all lines of a view, whatever the height of the terminal."""
    progress = view.progress
    head = [summary(view)]
    if progress.share is not None and progress.done < progress.cells:
        head.append(bar(progress.share))
    lines = [*head, *cells_table(view.states, columns=columns), page_line(view)]
    return [*lines, *(printable(problem) for problem in view.problems)]


class Lines:
    """The whole table once, then a line for each cell whose state or doses have changed."""

    def __init__(self) -> None:
        self._before: View | None = None

    def show(self, view: View) -> None:
        """Print what is new."""
        for line in self._new(view):
            print(line)
        sys.stdout.flush()
        self._before = view

    def close(self) -> None:
        """Do nothing: all lines are printed already."""

    def _new(self, view: View) -> list[str]:
        before = self._before
        if before is None:
            return whole(view)
        known = {each.run_id: _key(each) for each in before.states}
        lines = [change(each) for each in view.states if known.get(each.run_id) != _key(each)]
        gone = known.keys() - {each.run_id for each in view.states}
        lines += [f"{printable(name)}: gone" for name in sorted(gone)]
        lines += [summary(view)] if lines else []
        lines += [page_line(view)] if view.read != before.read else []
        lines += [printable(each) for each in view.problems if each not in before.problems]
        return [f"{view.time:%H:%M:%S} {line}" for line in lines]


def _key(cell: CellState) -> tuple[str, int, str]:
    return cell.state, cell.doses, cell.detail if cell.state == "broken" else ""


class Screen:
    """Table on an alternative screen, redrawn in place; the last one is printed at the end."""

    def __init__(self, every: float) -> None:
        self._every = every
        self._open = False
        self._last = b""

    def show(self, view: View) -> None:
        """Redraw the screen."""
        size = shutil.get_terminal_size()
        lines = self._lines(view, size.lines - 1, size.columns)
        drawn = "".join(f"{line}{END_OF_LINE}\n" for line in lines)
        self._last = _encoded("\n".join([*whole(view, size.columns), ""]))
        enter = "" if self._open else ENTER
        self._open = True  # before writing, as Ctrl-C may come in between
        sys.stdout.write(f"{enter}{HOME}{drawn}{BELOW}")
        sys.stdout.flush()

    def close(self) -> None:
        """Return to the original screen, and print the last view."""
        if self._open:
            self._open = False
            with contextlib.suppress(OSError):  # the terminal may be closed
                # Unbuffered: Ctrl-C may have interrupted a write to the buffer.
                os.write(sys.stdout.fileno(), LEAVE.encode() + self._last)

    def _lines(self, view: View, rows: int, columns: int) -> list[str]:
        progress = view.progress
        head = [summary(view), bar(progress.share) if progress.cells else "", ""]
        foot = [
            "",
            page_line(view),
            *(printable(problem) for problem in view.problems),
            f"seen at {view.time:%H:%M:%S}, and again every {self._every:g} s; Ctrl-C ends it",
        ]
        cells = cells_table(view.states, rows=max(rows - len(head) - len(foot), 2), columns=columns)
        return [cut(line, columns) for line in [*head, *cells, *foot]][:rows]


def _encoded(text: str) -> bytes:
    return text.encode(sys.stdout.encoding, "backslashreplace")
