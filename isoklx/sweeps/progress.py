"""How far a long loop has come: a bar on a terminal, nothing in a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from isoklx.cells.termination import owing
from isoklx.terminal import on_terminal

Item = TypeVar("Item")

WIDTH = 30
INTERVAL = 0.1
"""Seconds between two drawings."""


def progress(items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
    """Yield each of ``items``, drawing on standard error meanwhile if that is a terminal.

    Parameters
    ----------
    items : iterable
        What is worked on.
    total : int
        How many there are.
    what : str
        Their plural, shown behind the count.
    """
    if not on_terminal(sys.stderr):
        yield from items
        return
    drawn = 0.0
    with owing(_clear):
        try:
            _draw(0, total, what)
            for done, item in enumerate(items, start=1):
                if time.monotonic() - drawn > INTERVAL:
                    drawn = time.monotonic()
                    _draw(done, total, what)
                yield item
        finally:
            _clear()


def _clear() -> None:
    """Leave nothing behind of the line, which was ours."""
    sys.stderr.write("\r\033[K")
    sys.stderr.flush()


def _draw(done: int, total: int, what: str) -> None:
    bar = "#" * (WIDTH * done // total)
    sys.stderr.write(f"\r[{bar:<{WIDTH}}] {done}/{total} {what}")
    sys.stderr.flush()
