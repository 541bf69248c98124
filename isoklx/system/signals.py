"""Told to stop by a signal: first tidy up, then stop.

Ctrl-C is two things. To a script or a notebook it is KeyboardInterrupt, raised wherever the process
happens to be, and blocks end as after any error. A command cannot live with that: raised while a
module is imported, or an object freed, it is printed as somebody else's traceback, or lost. So a
command has what it owes done in the signal's handler, says one line, and is gone. What else tells a
process to stop, such as a time limit on a cluster, is handled alike, but for the line.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

INTERRUPTED = 130
"""Exit status after Ctrl-C: what a shell reports for a program that the signal ended."""

SIGNALS = (signal.SIGTERM, signal.SIGHUP)
"""Those that end a process at once, unless somebody handles them. Ctrl-C raises by itself."""

_owed: list[Callable[[], object]] = []
_stopped: list[Callable[[], str]] = []


def end_on_interrupt() -> None:
    """From now on, have Ctrl-C do what is owed, say so in one line, and end this process.

    SIGTERM and SIGHUP do what is owed too, and then end it as they end any other; they say a line
    within `explaining_stops`. A signal that is ignored, as Ctrl-C is in what a script runs in the
    background, stays ignored.
    """
    here = os.getpid()

    def end(number: int, _: FrameType | None) -> None:
        for each in (signal.SIGINT, *SIGNALS):
            signal.signal(each, signal.SIG_IGN)  # the tidying is not interrupted
        if os.getpid() == here:  # what a forked process has inherited, it does not owe
            _run_cleanups()
        if line := _line_on(number):
            with suppress(OSError):
                os.write(2, line.encode("utf-8", "backslashreplace"))
        if number == signal.SIGINT:
            os._exit(INTERRUPTED)  # and not by an exception, which anybody on the way could catch
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, end)
    for each in SIGNALS:
        if signal.getsignal(each) is signal.SIG_DFL:
            signal.signal(each, end)


@contextmanager
def cleanup_on_signal(tidy: Callable[[], object]) -> Iterator[None]:
    """Have something done if a signal ends the process in the block, which does not see it then.

    Parameters
    ----------
    tidy : callable
        Runs between any two steps of the block: it waits for no lock, and imports nothing. What is
        owed last is done first.
    """
    _owed.append(tidy)
    try:
        yield
    finally:
        _owed.remove(tidy)


@contextmanager
def explaining_stops(explanation: Callable[[], str]) -> Iterator[None]:
    """Add an explanation to the line that is printed if a signal ends the process in the block.

    Parameters
    ----------
    explanation : callable
        Returns a phrase: what was stopped, and what is left of it.
    """
    _stopped.append(explanation)
    try:
        yield
    finally:
        _stopped.remove(explanation)


def _line_on(number: int) -> str:
    """The line that is printed on a signal; none on SIGTERM where nothing explains it."""
    explanation = ""
    if _stopped:
        with suppress(Exception):
            explanation = _stopped[-1]()
    if number != signal.SIGINT and not explanation:
        return ""
    what = "interrupted" if number == signal.SIGINT else f"stopped by {signal.Signals(number).name}"
    return f"isoklx: {what}{': ' * bool(explanation)}{explanation}\n"


def _run_cleanups() -> None:
    for tidy in reversed(_owed):
        with suppress(Exception):  # there is nothing left that could be done about it
            tidy()


class _Terminated(BaseException):
    """Raised where the signal found the process, and seen by `signals_as_exceptions` alone."""


@contextmanager
def signals_as_exceptions() -> Iterator[None]:
    """Let a signal end the block as an exception would, and only then the process.

    A signal that somebody handles or ignores already stays as it is. Outside of the main thread,
    which is where Python delivers signals, nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    unhandled = [each for each in SIGNALS if signal.getsignal(each) is signal.SIG_DFL]
    received: list[int] = []
    inside = True

    def stop(number: int, _: FrameType | None) -> None:
        received.append(number)
        if inside and len(received) == 1:  # a second one must not interrupt the tidying
            raise _Terminated

    for each in unhandled:
        signal.signal(each, stop)
    try:
        yield
    finally:
        inside = False
        for each in unhandled:
            signal.signal(each, signal.SIG_DFL)
        for number in received:
            os.kill(os.getpid(), number)
