"""Progress of a run: a line that is redrawn and erased, on terminals only."""

from __future__ import annotations

import io
import os
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoklx.system import progress as module
from isoklx.system.progress import Meter, duration


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    terminal = Terminal()
    monkeypatch.setattr(module, "sys", SimpleNamespace(stderr=terminal))
    monkeypatch.setattr(module.shutil, "get_terminal_size", lambda: os.terminal_size((40, 20)))
    return terminal


def test_in_a_pipe_each_phase_is_a_line_of_the_log_and_nothing_is_drawn(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "isoklx.engine")
    meter = Meter(10)
    for phase in ("loading", "alpha 1"):
        meter.begin(phase)
        meter.within(5)
        meter.decoded(5)
    meter.clear()
    assert caplog.messages == ["loading", "alpha 1"]
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_one_line_is_redrawn_and_erased(
    clock: list[float], terminal: Terminal
) -> None:
    meter = Meter(100)
    meter.begin("alpha 1")
    clock[0] = 10
    meter.decoded(25)
    meter.clear()
    assert terminal.getvalue().split("\r\033[K") == [
        "",
        "  0% alpha 1",
        " 25% alpha 1, 30 s left",
        "",
    ]


def test_a_line_is_never_longer_than_the_terminal_is_wide(terminal: Terminal) -> None:
    Meter(100).begin("a" * 100)
    assert len(terminal.getvalue().removeprefix("\r\033[K")) < 40


def test_control_characters_in_names_are_escaped(terminal: Terminal) -> None:
    Meter(100).begin("a\033[31m\nb")
    assert terminal.getvalue().endswith(r"a\x1b[31m\nb")


def test_existing_tokens_take_no_time(clock: list[float]) -> None:
    meter = Meter(100)
    assert meter.seconds_left is None
    meter.passed(50)
    assert meter.seconds_left is None
    clock[0] = 5
    meter.decoded(10)
    assert meter.seconds_left == 20


def test_the_speed_excludes_time_before_a_phase(
    clock: list[float],
) -> None:
    meter = Meter(100)
    meter.begin("loading")
    clock[0] = 1000
    meter.begin("alpha 1")
    clock[0] = 1010
    meter.decoded(50)
    assert meter.seconds_left == 10


def test_time_left_is_known_within_the_first_batch(clock: list[float], terminal: Terminal) -> None:
    meter = Meter(100)
    meter.begin("alpha 1")
    clock[0] = 10
    meter.within(25)
    assert meter.seconds_left == 30
    assert terminal.getvalue().endswith(" 25% alpha 1, 30 s left")
    # A batch that ran out of memory restarts.
    meter.within(5)
    assert meter.seconds_left == 190
    clock[0] = 20
    meter.decoded(50)
    assert meter.seconds_left == 20


def test_a_stopped_run_reports_its_phase_and_progress() -> None:
    meter = Meter(200)
    assert meter.stopped == "0% of the run is done, and the same command continues it"
    meter.begin("a cell: alpha 1")
    meter.decoded(50)
    meter.within(90)  # of the current batch, which is lost
    assert meter.stopped == (
        "a cell: alpha 1; 25% of the run is done, and the same command continues it"
    )


def test_unexpected_tokens_increase_the_remaining_time(clock: list[float]) -> None:
    meter = Meter(10)
    clock[0] = 5
    meter.decoded(10)
    assert meter.seconds_left == 0
    meter.expect(20)
    assert meter.seconds_left == 10
    meter.expect(-40)
    assert meter.seconds_left == 0


def test_without_expected_tokens_nothing_is_drawn(terminal: Terminal) -> None:
    Meter(0).begin("a cell of somebody else's run")
    assert terminal.getvalue() == ""


@given(st.floats(0, 1e7))
def test_durations_are_formatted_in_two_units(seconds: float) -> None:
    units = {"s": 1, "min": 60, "h": 3600}
    words = duration(seconds).split()
    numbers = zip(words[::2], words[1::2], strict=True)
    said = sum(int(number) * units[unit] for number, unit in numbers)
    assert abs(said - seconds) <= (60 if "h" in words else 0.5)
