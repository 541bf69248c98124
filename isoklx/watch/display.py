"""Showing what a watch sees: a screen that is drawn anew, or lines where there is no terminal."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from typing import Protocol

from isoklx.terminal import printable
from isoklx.watch import table
from isoklx.watch.states import CellState
from isoklx.watch.watching import View

ENTER, LEAVE = "\033[?1049h\033[?25l", "\033[?25h\033[?1049l"
"""A screen of its own without a cursor, and back to what was there before."""

HOME, END_OF_LINE, BELOW = "\033[H", "\033[K", "\033[J"


class Display(Protocol):
    """Shows one view after another."""

    def show(self, view: View) -> None:
        """Show a view in the place of, or after, what was shown before."""

    def close(self) -> None:
        """Leave the last view behind. Waits for nothing, so that it can be owed."""


def display(every: float) -> Display:
    """What suits standard output: a screen on a terminal, and else lines.

    Parameters
    ----------
    every : float
        Seconds between two looks.
    """
    terminal = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    return Screen(every) if terminal else Lines()


def whole(view: View, columns: int | None = None) -> list[str]:
    """All lines of a view, whatever the height of the terminal."""
    far = view.headway
    head = [table.summary(view)]
    if far.share is not None and far.done < far.cells:
        head.append(table.bar(far.share))
    lines = [*head, *table.cells_table(view.states, columns=columns), table.page_line(view)]
    return [*lines, *(printable(problem) for problem in view.problems)]


class Lines:
    """The whole table first, and then a line for each cell whose state or doses have changed."""

    def __init__(self) -> None:
        self._before: View | None = None

    def show(self, view: View) -> None:
        """Print what is new."""
        for line in self._new(view):
            print(line)
        sys.stdout.flush()
        self._before = view

    def close(self) -> None:
        """Nothing: what was shown is there."""

    def _new(self, view: View) -> list[str]:
        before = self._before
        if before is None:
            return whole(view)
        known = {each.run_id: _key(each) for each in before.states}
        lines = [table.change(each) for each in view.states if known.get(each.run_id) != _key(each)]
        gone = known.keys() - {each.run_id for each in view.states}
        lines += [f"{printable(name)}: gone" for name in sorted(gone)]
        lines += [table.summary(view)] if lines else []
        lines += [table.page_line(view)] if view.read != before.read else []
        lines += [printable(each) for each in view.problems if each not in before.problems]
        return [f"{view.time:%H:%M:%S} {line}" for line in lines]


def _key(cell: CellState) -> tuple[str, int, str]:
    return cell.state, cell.doses, cell.detail if cell.state == "broken" else ""


class Screen:
    """A table that stays in its place, on a screen of its own; the last one is left behind.

    Parameters
    ----------
    every : float
        Seconds between two looks.
    """

    def __init__(self, every: float) -> None:
        self._every = every
        self._open = False
        self._last = b""

    def show(self, view: View) -> None:
        """Draw over what was drawn before."""
        size = shutil.get_terminal_size()
        lines = self._lines(view, size.lines - 1, size.columns)
        drawn = "".join(f"{line}{END_OF_LINE}\n" for line in lines)
        self._last = _encoded("\n".join([*whole(view, size.columns), ""]))
        enter = "" if self._open else ENTER
        self._open = True  # before it is, as Ctrl-C may come in between
        sys.stdout.write(f"{enter}{HOME}{drawn}{BELOW}")
        sys.stdout.flush()

    def close(self) -> None:
        """Go back to the screen that was there before, and print the last view."""
        if self._open:
            self._open = False
            with contextlib.suppress(OSError):  # whoever has closed the terminal sees nothing
                # Not through a buffer, which Ctrl-C may have found in the middle of something.
                os.write(sys.stdout.fileno(), LEAVE.encode() + self._last)

    def _lines(self, view: View, rows: int, columns: int) -> list[str]:
        far = view.headway
        head = [table.summary(view), table.bar(far.share) if far.cells else "", ""]
        foot = [
            "",
            table.page_line(view),
            *(printable(problem) for problem in view.problems),
            f"seen at {view.time:%H:%M:%S}, and again every {self._every:g} s; Ctrl-C ends it",
        ]
        cells = table.cells_table(
            view.states, rows=max(rows - len(head) - len(foot), 2), columns=columns
        )
        return [table.cut(line, columns) for line in [*head, *cells, *foot]][:rows]


def _encoded(text: str) -> bytes:
    return text.encode(sys.stdout.encoding, "backslashreplace")
