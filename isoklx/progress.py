"""How far a long loop has come: a bar on a terminal, nothing in a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")

WIDTH = 30
INTERVAL = 0.1
"""Seconds between two drawings."""


def progress(items: Sequence[Item], what: str) -> Iterator[Item]:
    """Yield each of ``items``, drawing on standard error meanwhile if that is a terminal.

    Parameters
    ----------
    items : sequence
        What is worked on.
    what : str
        Its plural, shown behind the count.
    """
    if not sys.stderr.isatty():
        yield from items
        return
    drawn = 0.0
    try:
        for done, item in enumerate(items):
            if time.monotonic() - drawn > INTERVAL:
                drawn = time.monotonic()
                bar = "#" * (WIDTH * done // len(items))
                sys.stderr.write(f"\r[{bar:<{WIDTH}}] {done}/{len(items)} {what}")
                sys.stderr.flush()
            yield item
    finally:
        sys.stderr.write("\r\033[K")  # the line was ours: leave none of it behind
        sys.stderr.flush()
