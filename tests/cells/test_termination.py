from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from isoklx.cells.termination import SIGNALS, unwinding

SCRIPT = """
import os, signal, sys
from pathlib import Path
from isoklx.cells.termination import unwinding
number = int(sys.argv[1])
with unwinding():
    try:
        os.kill(os.getpid(), number)
    finally:
        os.kill(os.getpid(), number)
        Path(sys.argv[2]).write_text("tidy")
Path(sys.argv[2]).write_text("went on")
"""


@pytest.mark.parametrize("number", SIGNALS)
def test_the_process_tidies_up_and_ends_by_the_signal(tmp_path: Path, number: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(int(number)), tmp_path / "file"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -number
    assert (tmp_path / "file").read_text() == "tidy"


def test_a_signal_that_somebody_handles_stays_theirs() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: seen.append(number))
    try:
        with unwinding():
            signal.raise_signal(signal.SIGTERM)
        assert seen == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_nothing_is_changed_afterwards_or_in_another_thread() -> None:
    with unwinding():
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    inside = []

    def look() -> None:
        with unwinding():
            inside.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert inside == [signal.SIG_DFL]
