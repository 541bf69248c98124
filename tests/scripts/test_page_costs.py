import subprocess
import sys
from pathlib import Path

import pytest

from tests.report.browsers import why_none

pytest.importorskip("playwright")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(why_none() is not None, reason=str(why_none())),
]

BENCHMARK = Path(__file__).resolve().parents[2] / "scripts" / "benchmark.py"


def test_a_page_is_opened_and_answers_every_click():
    # In a process of its own, as one has one playwright, which may be that of other tests.
    words = [sys.executable, BENCHMARK, "page", "--seeds", "1", "--prompts", "8", "--window", "8"]
    printed = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    heading, _, *table = printed.splitlines()
    assert heading.startswith("The page of 15 cells x 8 alphas x 8 prompts x 8 tokens")
    measured = dict(row.strip("| ").split(" | ") for row in table[2:])
    assert 0 < float(measured["size, MB"]) < 5
    for what in ("first paint, ms", "next prompt, ms", "another cell or dose, ms"):
        assert float(measured[what].split()[0]) > 0
