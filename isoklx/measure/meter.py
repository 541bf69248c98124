"""How far a run has come and how long it still takes: a line on a terminal, nothing in a pipe."""

from __future__ import annotations

import shutil
import sys
import time

from isoklx.terminal import on_terminal, printable


class Meter:
    """Counts tokens of rollouts against those that are expected.

    Parameters
    ----------
    total : int
        Tokens that the whole run is expected to decode; where none are, nothing is shown.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = self._decoded = 0
        self._started = time.monotonic()
        self._what = ""

    def working_on(self, what: str) -> None:
        """Say what comes next."""
        self._what = what
        self._draw()

    def decoded(self, tokens: int) -> None:
        """Count tokens that took time."""
        self._decoded += tokens
        self.passed(tokens)

    def passed(self, tokens: int) -> None:
        """Count tokens that were there already, and took none."""
        self._done += tokens
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
    def seconds_left(self) -> float | None:
        """At the speed so far; None before there is one."""
        if not self._decoded:
            return None
        speed = self._decoded / (time.monotonic() - self._started)
        return max(self._total - self._done, 0) / speed

    def _draw(self) -> None:
        if not self._total or not on_terminal(sys.stderr):
            return
        share = min(self._done / self._total, 1)
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
