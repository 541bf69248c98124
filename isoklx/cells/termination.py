"""Told to stop by a signal: first tidy up, then stop."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGHUP)
"""Those that end a process at once, unless somebody handles them. Ctrl-C raises by itself."""


class _ToldToStop(BaseException):
    """Raised where the signal found the process, and seen by `unwinding` alone."""


@contextmanager
def unwinding() -> Iterator[None]:
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
            raise _ToldToStop

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
