"""Killed or told to stop at any moment, a run goes on to the very bytes of one left alone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs the extra run")
pytest.importorskip("transformers", reason="needs the extra run")

from isoklx.system.signals import INTERRUPTED
from tests.conftest import PROJECT

HOWS = ("changes", "SIGKILL", "SIGTERM", "SIGINT")
CELL = "tiny_mean_diff_s0_w6"


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.engine.interrupted", tmp_path_factory.mktemp("stopped")],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("how", HOWS)
def test_the_cell_is_that_of_a_run_that_was_left_alone(seen: dict[str, Any], how: str) -> None:
    for chain in seen[how]:
        assert chain["same"]
        assert {Path(path).parent for path in chain["left"]} == {Path(CELL)}


def test_it_was_stopped_often_enough_and_all_along(seen: dict[str, Any]) -> None:
    stopped = {how: sum(len(c["statuses"]) - 1 for c in seen[how]) for how in HOWS}
    assert sum(stopped.values()) >= 20
    assert min(stopped.values()) >= 3
    # Before it was begun, in the calibration, and between doses.
    *said, _ = seen["changes"][0]["said"]
    assert "try" not in said[0]
    assert len({"c_star" in text for text in said}) == 2


@pytest.mark.parametrize("how", HOWS)
def test_each_stop_costs_the_batch_in_hand_at_most(seen: dict[str, Any], how: str) -> None:
    for chain in seen[how]:
        assert chain["batches"] <= seen["whole"] + len(chain["statuses"]) - 1


def test_ctrl_c_is_one_line_and_leaves_nothing_hidden(seen: dict[str, Any]) -> None:
    for chain in seen["SIGINT"]:
        assert set(chain["statuses"][:-1]) <= {INTERRUPTED}
        for text in chain["said"][:-1]:
            last = text.splitlines()[-1]
            assert last.startswith("isoklx: interrupted")
            assert "Traceback" not in text
        assert chain["litter"] == []


def test_sigterm_is_one_line_that_says_what_was_stopped_and_that_it_goes_on(
    seen: dict[str, Any],
) -> None:
    texts = [text for chain in seen["SIGTERM"] for text in chain["said"]]
    # One that comes before the run begins, or when it is complete, stops nothing of it.
    told = [line for text in texts for line in text.splitlines() if "by SIGTERM" in line]
    assert told
    assert len(told) == sum("by SIGTERM" in text.splitlines()[-1] for text in texts if text)
    for line in told:
        assert line.startswith("isoklx: stopped by SIGTERM: ")
        assert line.endswith("the same command continues it")
    assert any(f"{CELL}: " in line and "% of the run is done" in line for line in told)


def test_sigterm_ends_it_as_the_signal_does(seen: dict[str, Any]) -> None:
    for chain in seen["SIGTERM"]:
        assert set(chain["statuses"][:-1]) <= {-signal.SIGTERM}
        assert not any("Traceback" in text for text in chain["said"])
        assert chain["litter"] == []


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT"])
def test_a_runs_root_in_which_nothing_was_begun_is_not_left(seen: dict[str, Any], how: str) -> None:
    for chain in seen[how]:
        assert chain["empty"] == []


def test_of_runs_at_once_each_cell_is_made_by_one(seen: dict[str, Any]) -> None:
    assert seen["at once"]["same"]
    assert 0 in seen["at once"]["statuses"]
    assert set(seen["at once"]["statuses"]) <= {0, 1}
