from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "benchmark.py"


@pytest.fixture(scope="module")
def benchmark() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT), run_name="benchmark")


def test_time_and_memory_are_those_of_the_measured_process_alone(benchmark: dict[str, Any]) -> None:
    ballast = b"x" * (150 * 2**20)
    idle = benchmark["measure"]([sys.executable, "-c", "import time; time.sleep(0.3)"])
    hungry = benchmark["measure"]([sys.executable, "-c", "b'x' * (100 * 2**20)"])
    assert idle.wall > 0.3 > idle.cpu
    assert 150 > hungry.peak > 100 > idle.peak
    del ballast


def test_a_process_that_fails_is_no_measurement(benchmark: dict[str, Any]) -> None:
    with pytest.raises(SystemExit, match="it failed"):
        benchmark["measure"]([sys.executable, "-c", "raise SystemExit(3)"])


@pytest.mark.slow
def test_figures_are_measured_from_a_sweep_made_on_demand(
    benchmark: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in list(benchmark["FIGURES"])[1:]:
        del benchmark["FIGURES"][name]
    size = ["--seeds", "1", "--prompts", "2", "--window", "8", "--repeat", "1"]
    benchmark["main"](["figures", *size, "--keep", str(tmp_path)])
    heading, _, *table = capsys.readouterr().out.splitlines()
    assert heading.startswith("Figures of 3 cells x 8 alphas x 2 prompts x 8 tokens")
    assert table[2].startswith("| figure band |")
    assert len(table[2].split("|")) == len(table[0].split("|"))
    assert "times as long" in table[-1]
    assert (tmp_path / "sweep_1x2x8.nc").is_file()
