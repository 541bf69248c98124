"""Progress of a run: a line that is redrawn on a terminal, and one line a phase elsewhere."""

from __future__ import annotations

import logging
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from isoklx.system.signals import cleanup_on_signal
from isoklx.system.terminal import on_terminal, printable

log = logging.getLogger("isoklx.engine")

OFTEN = 0.2
"""Seconds between two drawings within a batch, at least."""


class Meter:
    """Counts tokens of rollouts against those that are expected, and names the phase of the run.

    Parameters
    ----------
    total : int
        Tokens that the whole run is expected to decode; where it is 0, nothing is drawn.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = self._decoded = self._within = 0
        self._seconds = 0.0
        self._since = self._drawn = time.monotonic()
        self._what = ""

    def begin(self, what: str) -> None:
        """Begin a phase: name it on the terminal, or in a line of the log where there is none."""
        self._what = what
        self._since = time.monotonic()
        self._within = 0
        if not sys.stderr.isatty():
            log.info("%s", what)
        self._draw()

    def within(self, tokens: int) -> None:
        """Show that so many tokens of the batch in hand are decoded."""
        self._within = tokens
        if time.monotonic() - self._drawn > OFTEN:
            self._draw()

    def decoded(self, tokens: int) -> None:
        """Count tokens of a batch, which took the time since the last batch or the phase began."""
        now = time.monotonic()
        self._seconds += now - self._since
        self._since = now
        self._decoded += tokens
        self.passed(tokens)

    def passed(self, tokens: int) -> None:
        """Count tokens that were there already, and took no time."""
        self._done += tokens
        self._within = 0
        self._draw()

    def expect(self, tokens: int) -> None:
        """Expect more tokens than were thought of, or fewer."""
        self._total += tokens

    def clear(self) -> None:
        """Leave none of the line behind."""
        if on_terminal(sys.stderr):
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()

    @property
    def stopped(self) -> str:
        """What a signal stops now, and how much of the run is kept."""
        share = min(self._done / self._total, 1) if self._total else 0
        what = f"{printable(self._what)}; " if self._what else ""
        return f"{what}{share:.0%} of the run is done, and the same command continues it"

    @property
    def seconds_left(self) -> float | None:
        """At the speed so far; None before there is one."""
        seconds, decoded = self._seconds, self._decoded
        if self._within:
            seconds, decoded = seconds + time.monotonic() - self._since, decoded + self._within
        if not decoded or not seconds:
            return None
        return max(self._total - self._done - self._within, 0) * seconds / decoded

    def _draw(self) -> None:
        if not self._total or not on_terminal(sys.stderr):
            return
        self._drawn = time.monotonic()
        share = min((self._done + self._within) / self._total, 1)
        left = self.seconds_left
        rest = "" if left is None else f", {duration(left)} left"
        line = f"{share:4.0%} {printable(self._what)}{rest}"
        # A line that is wrapped could not be taken back.
        width = shutil.get_terminal_size().columns - 1
        sys.stderr.write(f"\r\033[K{line[:width]}")
        sys.stderr.flush()


def duration(seconds: float) -> str:
    """A time in the two units that matter.

    Examples
    --------
    >>> duration(7.4), duration(200), duration(7300)
    ('7 s', '3 min 20 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


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
    with cleanup_on_signal(_clear):
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
