"""Progress of a run: one line redrawn on a terminal, or one log line per phase elsewhere."""

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

BATCH_INTERVAL = 0.2
"""Minimum seconds between two drawings within a batch."""


class Meter:
    """Progress in tokens of rollouts, and the run's phase; a `total` of 0 draws nothing."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = self._decoded = self._within = 0
        self._seconds = 0.0
        self._since = self._drawn = time.monotonic()
        self._phase = ""

    def begin(self, phase: str) -> None:
        """Begin a phase: show it on the terminal, or else write it to the log."""
        self._phase = phase
        self._since = time.monotonic()
        self._within = 0
        if not sys.stderr.isatty():
            log.info("%s", phase)
        self._draw()

    def within(self, tokens: int) -> None:
        """Show the number of tokens decoded in the current batch."""
        self._within = tokens
        if time.monotonic() - self._drawn > BATCH_INTERVAL:
            self._draw()

    def decoded(self, tokens: int) -> None:
        """Count tokens of a finished batch and its time since the last batch or phase."""
        now = time.monotonic()
        self._seconds += now - self._since
        self._since = now
        self._decoded += tokens
        self.passed(tokens)

    def passed(self, tokens: int) -> None:
        """Count tokens that already existed and took no time."""
        self._done += tokens
        self._within = 0
        self._draw()

    def expect(self, tokens: int) -> None:
        """Change the expected number of tokens by a difference."""
        self._total += tokens

    def clear(self) -> None:
        """Erase the line."""
        if on_terminal(sys.stderr):
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()

    @property
    def stopped(self) -> str:
        """Message for a stopped run: its phase and share done."""
        share = min(self._done / self._total, 1) if self._total else 0
        what = f"{printable(self._phase)}; " if self._phase else ""
        return f"{what}{share:.0%} of the run is done, and the same command continues it"

    @property
    def seconds_left(self) -> float | None:
        """Remaining seconds at the speed so far; None before the first measurement."""
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
        line = f"{share:4.0%} {printable(self._phase)}{rest}"
        # A wrapped line could not be erased.
        width = shutil.get_terminal_size().columns - 1
        sys.stderr.write(f"\r\033[K{line[:width]}")
        sys.stderr.flush()


def duration(seconds: float) -> str:
    """Format seconds in the two largest units: 7 s, 3 min 20 s, 2 h 1 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


Item = TypeVar("Item")

WIDTH = 30
INTERVAL = 0.1
"""Minimum seconds between two drawings."""


def progress(items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
    """Yield each item and draw the count, with the plural noun `what`, on a terminal's stderr."""
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
    """Erase the line."""
    sys.stderr.write("\r\033[K")
    sys.stderr.flush()


def _draw(done: int, total: int, what: str) -> None:
    bar = "#" * (WIDTH * done // total)
    sys.stderr.write(f"\r[{bar:<{WIDTH}}] {done}/{total} {what}")
    sys.stderr.flush()
