"""Screen redrawn in place on a terminal, and lines elsewhere."""

import os
import re
import sys
from dataclasses import replace
from datetime import datetime

import pytest

from isoklx.watch.display import ENTER, LEAVE, Lines, Screen, display, whole
from isoklx.watch.states import CellState, Progress
from tests.watch.test_table import STATES, view


def printed(capsys):
    return capsys.readouterr().out.splitlines()


def test_without_a_terminal_the_table_is_printed_once_then_changes(capsys):
    lines, first = Lines(), view()
    lines.show(first)
    assert printed(capsys) == whole(first)
    older = [replace(each, idle=each.idle + 300) for each in STATES]
    lines.show(view(older))
    assert printed(capsys) == []
    sweeping = replace(STATES[3], state="sweeping", calibrated=True)
    lines.show(
        view(
            [*STATES[:3], sweeping, *STATES[5:]],
            Progress(1, 5, 0.6, None),
            read=datetime(2026, 1, 2, 12),
            problems=("report.nc: cannot be written: No space left on device",),
        )
    )
    assert printed(capsys) == [
        "12:00:00 calibrated: sweeping, 0 doses (try 3)",
        "12:00:00 claimed: gone",
        "12:00:00 outputs: 1 of 5 cells done, 1 broken, 1 stale, 2 sweeping; "
        "60% of the work, time left unknown",
        "12:00:00 page: report.html, of the cells at 12:00:00",
        "12:00:00 report.nc: cannot be written: No space left on device",
    ]


def test_another_dose_is_a_change_and_another_try_is_not(capsys):
    lines = Lines()
    lines.show(view())
    printed(capsys)
    more = [
        *STATES[:2],
        replace(STATES[2], doses=1),
        replace(STATES[3], detail="try 4"),
        *STATES[4:],
    ]
    lines.show(view(more))
    assert len(printed(capsys)) == 2


def test_a_problem_is_printed_once(capsys):
    lines = Lines()
    for _ in range(3):
        lines.show(view(problems=("no such folder",)))
    assert printed(capsys).count("no such folder") == 1


class Terminal:
    """A terminal of 24 lines that remembers what it was sent."""

    def __init__(self, path):
        self.stdout = path.open("w", encoding="utf-8")
        self._sent = path.open("rb")

    def attach(self, monkeypatch):
        """In the test, for between a fixture and its test pytest gives stdout another value."""
        monkeypatch.setattr(self.stdout, "isatty", lambda: True)
        monkeypatch.setattr(sys, "stdout", self.stdout)
        monkeypatch.setattr("shutil.get_terminal_size", lambda *_: os.terminal_size((80, 24)))

    def sent(self):
        return self._sent.read().decode()

    def close(self):
        self.stdout.close()
        self._sent.close()


@pytest.fixture
def terminal(tmp_path):
    opened = Terminal(tmp_path / "sent")
    yield opened
    opened.close()


def test_on_a_terminal_an_alternative_screen_is_redrawn_and_left(terminal, monkeypatch):
    terminal.attach(monkeypatch)
    screen = Screen(30)
    screen.show(view())
    first = terminal.sent()
    assert first.startswith(ENTER)
    assert "stale for 42 min" in first
    assert first.count("\n") <= 23
    screen.show(view(STATES[5:], Progress(1, 1, 1.0, 0.0)))
    second = terminal.sent()
    assert ENTER not in second
    screen.close()
    left = terminal.sent()
    assert left.startswith(LEAVE)
    assert left.removeprefix(LEAVE).splitlines() == whole(
        view(STATES[5:], Progress(1, 1, 1.0, 0.0))
    )
    screen.close()  # once is enough
    terminal.stdout.write("end")
    terminal.stdout.flush()
    assert terminal.sent() == "end"


def test_a_screen_never_scrolls(terminal, monkeypatch):
    terminal.attach(monkeypatch)
    many = [CellState(f"cell{i}", "done", 5, 5, True, 60) for i in range(300)]
    screen = Screen(30)
    screen.show(view(many, Progress(300, 300, 1.0, 0.0), problems=("x" * 200, "y")))
    drawn = re.sub(r"\033\[[?0-9]*[A-Za-z]", "", terminal.sent()).splitlines()
    assert len(drawn) <= 23
    assert max(map(len, drawn)) <= 80
    assert any(line.startswith("and 2") and line.endswith(" done") for line in drawn)
    screen.close()
    assert len(terminal.sent().splitlines()) > 300  # and all of it is left behind


def test_pipes_and_dumb_terminals_get_lines(terminal, monkeypatch):
    terminal.attach(monkeypatch)
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(display(30), Screen)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(display(30), Lines)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(terminal.stdout, "isatty", lambda: False)
    assert isinstance(display(30), Lines)
