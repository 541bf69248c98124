"""The command ``watch``: once, continuously, with wrong arguments, and ended by Ctrl-C."""

import contextlib
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time

import pytest

from isoklx.cli.main import main
from isoklx.simulation.sweep import grid, simulate
from tests.handmade import make_cell

DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
CODE = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "signal.signal(signal.SIGHUP, signal.SIG_DFL); "
    "from isoklx.__main__ import end_on_interrupt, main; end_on_interrupt(); "
    "signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT]); sys.exit(main())"
)
"""Reset the signals, which child processes inherit as ignored from some test runners.

The parent blocks SIGINT until the program has started, because Python answers earlier signals.
"""

LONG = 60
"""Timeout in seconds, long enough for a busy machine."""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    root = tmp_path_factory.mktemp("source")
    simulate(root, grid(seeds=[0, 1], windows=[8], prompts=2, questions=0, texts=True))
    return root


@pytest.fixture
def root(source, tmp_path):
    """A runs root with one cell of four."""
    copied = tmp_path / "outputs"
    name = min(path.name for path in source.iterdir())
    shutil.copytree(source / name, copied / name)
    return copied


def without_dates(path):
    return DATE.sub("DATE", path.read_text(encoding="utf-8"))


def report(root, page):
    words = ["report", str(root), "--out", str(page)]
    subprocess.run([sys.executable, "-m", "isoklx", *words], check=True, capture_output=True)
    return page


def test_once_writes_the_page_of_report_and_prints_the_table(root, tmp_path, capsys):
    make_cell(root, "broken", trajectory="{")
    page = tmp_path / "page.html"
    assert main(["watch", str(root), "--once", "--out", str(page)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    first, _, _, *lines = out.splitlines()
    assert first == f"{root}: 1 of 2 cells done, 1 broken; 50% of the work, time left unknown"
    assert lines[0].startswith("broken ")
    assert "trajectory.json: not JSON, or half written" in lines[0]
    assert lines[-1].startswith(f"page: {page}, of the cells at ")
    assert without_dates(page) == without_dates(report(root, tmp_path / "alone.html"))


def test_second_once_changes_nothing(root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert main(["watch", "outputs", "--once"]) == 0
        files = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
        assert sorted(files) == ["report.html", "report.nc"]
    assert main(["watch", "outputs", "--once"]) == 0
    assert all((tmp_path / name).read_bytes() == content for name, content in files.items())


def test_once_reports_a_root_without_cells_and_succeeds(tmp_path, capsys):
    (tmp_path / "outputs").mkdir()
    out = tmp_path / "page.html"
    assert main(["watch", str(tmp_path / "outputs"), "--once", "--out", str(out)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path}/outputs: no cells yet",
        "no page yet: it is written when a cell can be read",
    ]
    assert not out.exists()


def test_once_without_readable_cells_fails_with_one_line(tmp_path, capsys):
    make_cell(tmp_path / "outputs", "a", trajectory="{")
    words = ["watch", str(tmp_path / "outputs"), "--once", "--out", str(tmp_path / "page.html")]
    assert main(words) == 1
    out, err = capsys.readouterr()
    assert "a     broken" in out
    assert err == "isoklx watch: no cell can be read: the page is not written\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["absent"], "absent: folder not found"),
        (["file"], "file: expected a runs root (a folder of cells), got a file"),
        (["outputs", "--every", "0"], "--every must be at least 1, got 0"),
        (["outputs", "--stale", "-1"], "--stale must be at least 1, got -1"),
        (["outputs", "--cells", "0"], "--cells must be at least 1, got 0"),
        (["outputs", "--once", "--every", "5"], "--every and --once exclude each other"),
        (["outputs", "--every", "soon"], "--every takes a finite number, not 'soon'"),
        (
            ["outputs", "--out", "page.pdf"],
            "--out page.pdf: must be a folder, or a file name ending",
        ),
        (["outputs", "--evry", "5"], "unknown flag --evry; did you mean --every?"),
        ([], "missing ROOT"),
    ],
)
def test_wrong_usage_is_one_line(root, tmp_path, monkeypatch, capsys, words, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert main(["watch", *words]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("isoklx watch: ")
    assert says in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "outputs"]


def started(*words, stdout=subprocess.PIPE):
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        return subprocess.Popen(
            [sys.executable, "-c", CODE, "watch", *map(str, words)],
            stdout=stdout,
            stderr=subprocess.PIPE if stdout == subprocess.PIPE else stdout,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "24"},
            start_new_session=True,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def ended(process):
    """Kill the process at the end of the test."""
    try:
        yield
    finally:
        process.kill()
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()
        process.wait()


def line_with(process, text):
    for raw in process.stdout:
        if text in raw.decode():
            return raw.decode()
    raise AssertionError(f"no line with {text!r}")


@pytest.mark.slow
def test_prints_a_line_per_change_and_ctrl_c_leaves_the_last_page(source, root, tmp_path):
    page = tmp_path / "page.html"
    process = started(root, "--out", page, "--every", 1)
    with ended(process):
        line_with(process, "page: ")
        assert "This page reloads every" in page.read_text()
        time.sleep(3)  # three updates without a change
        second = sorted(path.name for path in source.iterdir())[1]
        shutil.copytree(source / second, tmp_path / "staged")
        (tmp_path / "staged").rename(root / second)
        assert re.fullmatch(
            rf"\d\d:\d\d:\d\d {second}: done, 6 doses\n", process.stdout.readline().decode()
        )
        line_with(process, "page: ")
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(LONG) == 130
        assert process.stderr.read() == b"isoklx: interrupted\n"
    assert without_dates(page) == without_dates(report(root, tmp_path / "alone.html"))
    there = {"outputs", "page.html", "page.nc", "alone.html"}
    assert {path.name for path in tmp_path.iterdir()} == there


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_leave_the_last_page(root, tmp_path, number):
    page = tmp_path / "page.html"
    process = started(root, "--out", page, "--every", 1)
    with ended(process):
        line_with(process, "page: ")
        process.send_signal(number)
        assert process.wait(LONG) == -number
    assert without_dates(page) == without_dates(report(root, tmp_path / "alone.html"))


def test_it_waits_for_the_first_cell(source, tmp_path):
    root, page = tmp_path / "outputs", tmp_path / "page.html"
    root.mkdir()
    process = started(root, "--out", page, "--every", 1)
    with ended(process):
        line_with(process, "outputs: no cells yet")
        name = min(path.name for path in source.iterdir())
        shutil.copytree(source / name, tmp_path / "staged")
        (tmp_path / "staged").rename(root / name)
        line_with(process, f"{name}: done, 6 doses")
        line_with(process, "page: ")
        assert page.exists()


@pytest.mark.slow
def test_ctrl_c_at_any_moment_leaves_a_complete_page_or_none(root, tmp_path):
    page = tmp_path / "page.html"
    for wait in (0.0, 0.3, 1.0, 1.5, 2.0, 3.0):
        page.unlink(missing_ok=True)
        process = started(root, "--out", page, "--every", 1)
        with ended(process):
            time.sleep(wait)
            os.killpg(process.pid, signal.SIGINT)
            assert process.wait(LONG) == 130
            assert process.stderr.read() == b"isoklx: interrupted\n"
        if page.exists():
            text = page.read_text()
            assert text.endswith("</html>\n") or text.endswith("</html>")
            assert "This page reloads every" not in text
        hidden = [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]
        assert hidden == []


def test_terminal_is_restored_with_the_last_table(root, tmp_path):
    master, slave = pty.openpty()
    process = started(root, "--out", tmp_path / "page.html", "--every", 1, stdout=slave)
    os.close(slave)
    with ended(process):
        sent = b""
        until = time.monotonic() + LONG
        while b"Ctrl-C ends it" not in sent and time.monotonic() < until:
            if select.select([master], [], [], 1)[0]:
                sent += os.read(master, 2**16)
        os.killpg(process.pid, signal.SIGINT)
        with contextlib.suppress(OSError):  # the terminal was closed
            while more := os.read(master, 2**16):
                sent += more
        assert process.wait(LONG) == 130
    os.close(master)
    _, drawn = sent.decode().split("\033[?1049h", 1)
    drawn, left = drawn.rsplit("\033[?1049l", 1)
    assert "\033[?1049" not in drawn
    assert "1 of 1 cell done" in drawn
    lines = left.replace("\r\n", "\n").splitlines()
    assert "1 of 1 cell done" in lines[0]
    assert lines[-1] == "isoklx: interrupted"


def test_terminal_is_restored_if_the_last_page_cannot_be_written(
    root, tmp_path, monkeypatch, capsys
):
    closed = []

    class Shown:
        def show(self, _view):
            shutil.rmtree(tmp_path / "www")
            raise BrokenPipeError

        def close(self):
            closed.append(True)

    monkeypatch.setattr("isoklx.watch.display.display", lambda _every: Shown())
    page = tmp_path / "www" / "page.html"
    assert main(["watch", str(root), "--out", str(page)]) == 1
    assert capsys.readouterr().err == (
        f"isoklx watch: {page}: cannot be written: No such file or directory\n"
    )
    assert closed
