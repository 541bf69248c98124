from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from isoklx.system.signals import INTERRUPTED, SIGNALS, signals_as_exceptions

HANGUP = "signal.signal(signal.SIGHUP, signal.SIG_DFL)"
"""First line of child processes: under nohup, the tests and their children ignore SIGHUP."""

SCRIPT = f"""
import os, signal, sys
from pathlib import Path
from isoklx.system.signals import signals_as_exceptions
{HANGUP}
number = int(sys.argv[1])
with signals_as_exceptions():
    try:
        os.kill(os.getpid(), number)
    finally:
        os.kill(os.getpid(), number)
        Path(sys.argv[2]).write_text("tidy")
Path(sys.argv[2]).write_text("went on")
"""


@pytest.mark.parametrize("number", SIGNALS)
def test_the_process_cleans_up_and_ends_by_the_signal(tmp_path: Path, number: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(int(number)), tmp_path / "file"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -number
    assert (tmp_path / "file").read_text() == "tidy"


def test_handled_signals_keep_their_handler() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: seen.append(number))
    try:
        with signals_as_exceptions():
            signal.raise_signal(signal.SIGTERM)
        assert seen == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_handlers_are_restored_and_other_threads_unaffected() -> None:
    with signals_as_exceptions():
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    inside = []

    def look() -> None:
        with signals_as_exceptions():
            inside.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert inside == [signal.SIG_DFL]


def interrupted(folder: Path, body: str) -> subprocess.CompletedProcess[str]:
    """Run a program that interrupts itself in a block with a cleanup."""
    lines = [
        "import os, signal, subprocess, sys",
        "from pathlib import Path",
        "from isoklx.system.signals import end_on_interrupt, cleanup_on_signal",
        HANGUP,
        f"place = Path({str(folder)!r})",
        *body.splitlines(),
    ]
    return subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False
    )


def test_ctrl_c_runs_cleanups_in_reverse_and_prints_one_line(tmp_path: Path) -> None:
    body = """
def note(what):
    with (place / "notes").open("a") as file:
        file.write(what)
    os.kill(os.getpid(), signal.SIGINT)  # a second signal changes nothing
end_on_interrupt()
with cleanup_on_signal(lambda: note("never")):
    pass
try:
    first, last = (lambda text=text: note(text) for text in ("first", "last "))
    with cleanup_on_signal(first), cleanup_on_signal(lambda: 1 / 0), cleanup_on_signal(last):
        os.kill(os.getpid(), signal.SIGINT)
except BaseException:
    note("seen")
"""
    done = interrupted(tmp_path, body)
    assert (done.returncode, done.stdout) == (INTERRUPTED, "")
    assert done.stderr == "isoklx: interrupted\n"
    assert (tmp_path / "notes").read_text() == "last first"


@pytest.mark.parametrize("number", SIGNALS)
def test_other_signals_run_cleanups_too(tmp_path: Path, number: int) -> None:
    body = f"""
end_on_interrupt()
with cleanup_on_signal(lambda: (place / "tidy").touch()):
    os.kill(os.getpid(), {int(number)})
"""
    done = interrupted(tmp_path, body)
    assert (done.returncode, done.stdout, done.stderr) == (-number, "", "")
    assert (tmp_path / "tidy").exists()


def test_forked_processes_do_not_run_cleanups(tmp_path: Path) -> None:
    body = """
end_on_interrupt()
with cleanup_on_signal(lambda: (place / "tidy").touch()):
    if not (child := os.fork()):
        os.kill(os.getpid(), signal.SIGTERM)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = interrupted(tmp_path, body)
    assert (done.returncode, done.stdout) == (0, f"{-signal.SIGTERM}\n")
    assert not (tmp_path / "tidy").exists()


def test_an_ignored_ctrl_c_stays_ignored(tmp_path: Path) -> None:
    body = """
signal.signal(signal.SIGINT, signal.SIG_IGN)
end_on_interrupt()
os.kill(os.getpid(), signal.SIGINT)
print("went on")
"""
    done = interrupted(tmp_path, body)
    assert (done.returncode, done.stdout, done.stderr) == (0, "went on\n", "")


@pytest.mark.parametrize("raised", ["in a destructor", "in an import"])
def test_ctrl_c_works_where_an_exception_would_be_lost(tmp_path: Path, raised: str) -> None:
    (tmp_path / "module.py").write_text(
        "import os, signal\ntry: os.kill(os.getpid(), signal.SIGINT)\nexcept: pass"
    )
    body = """
class Freed:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
end_on_interrupt()
""" + ("Freed()" if raised == "in a destructor" else "sys.path.append(str(place)); import module")
    done = interrupted(tmp_path, body)
    assert (done.returncode, done.stderr) == (INTERRUPTED, "isoklx: interrupted\n")
