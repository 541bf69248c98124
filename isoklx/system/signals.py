"""Cleanup before a signal ends the process.

In a script or notebook Ctrl-C is KeyboardInterrupt, raised wherever the process happens to be, and
blocks end as after any error. In a command, KeyboardInterrupt during an import or in a destructor
would be printed as a foreign traceback, or lost. Commands therefore run their cleanups in the
signal handler, print one line, and exit. SIGTERM and SIGHUP, such as a cluster's time limit, are
handled likewise but print a line only within `explaining_stops`.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells report it (128 + SIGINT)."""

SIGNALS = (signal.SIGTERM, signal.SIGHUP)
"""Signals that end a process at once unless handled; Ctrl-C raises an exception by default."""

_cleanups: list[Callable[[], object]] = []
_explanations: list[Callable[[], str]] = []


def end_on_interrupt() -> None:
    """Install handlers for SIGINT, SIGTERM and SIGHUP that run cleanups, print a line and exit.

    SIGTERM and SIGHUP print a line within `explaining_stops` only. Ignored signals stay ignored, as
    Ctrl-C is in background jobs of a script.
    """
    here = os.getpid()

    def end(number: int, _: FrameType | None) -> None:
        for each in (signal.SIGINT, *SIGNALS):
            signal.signal(each, signal.SIG_IGN)  # do not interrupt the cleanups
        if os.getpid() == here:  # a forked process inherits the cleanups but must not run them
            _run_cleanups()
        if line := _line_on(number):
            with suppress(OSError):
                os.write(2, line.encode("utf-8", "backslashreplace"))
        if number == signal.SIGINT:
            os._exit(INTERRUPTED)  # not by an exception, which callers could catch
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, end)
    for each in SIGNALS:
        if signal.getsignal(each) is signal.SIG_DFL:
            signal.signal(each, end)


@contextmanager
def cleanup_on_signal(cleanup: Callable[[], object]) -> Iterator[None]:
    """Run a function if a signal ends the process during the block, whose code then stops there.

    `cleanup` may run between any two steps of the block, so it must not wait for locks or import
    modules. The last one registered runs first.
    """
    _cleanups.append(cleanup)
    try:
        yield
    finally:
        _cleanups.remove(cleanup)


@contextmanager
def explaining_stops(explanation: Callable[[], str]) -> Iterator[None]:
    """Add a phrase to the line that is printed if a signal ends the process in the block."""
    _explanations.append(explanation)
    try:
        yield
    finally:
        _explanations.remove(explanation)


def _line_on(number: int) -> str:
    """Return the line to print on a signal; empty on SIGTERM or SIGHUP without explanation."""
    explanation = ""
    if _explanations:
        with suppress(Exception):
            explanation = _explanations[-1]()
    if number != signal.SIGINT and not explanation:
        return ""
    what = "interrupted" if number == signal.SIGINT else f"stopped by {signal.Signals(number).name}"
    return f"isoklx: {what}{': ' * bool(explanation)}{explanation}\n"


def _run_cleanups() -> None:
    for cleanup in reversed(_cleanups):
        with suppress(Exception):  # the process ends anyway
            cleanup()


class _Terminated(BaseException):
    """Raised at a signal, and caught by `signals_as_exceptions` only."""


@contextmanager
def signals_as_exceptions() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the block as an exception would, and then the process.

    Signals that are handled or ignored already stay so. Outside the main thread, to which Python
    delivers signals, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    unhandled = [each for each in SIGNALS if signal.getsignal(each) is signal.SIG_DFL]
    received: list[int] = []
    inside = True

    def stop(number: int, _: FrameType | None) -> None:
        received.append(number)
        if inside and len(received) == 1:  # a second one must not interrupt the cleanups
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
