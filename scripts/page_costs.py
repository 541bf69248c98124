"""Costs of a page: its size, the time to first paint, and the time to answer a click.

Used by ``scripts/benchmark.py page``.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.report.browsers import launched, why_none

PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
ANSWER = """([id, value]) => new Promise((done) => {
  const chosen = ["c-cell", "c-alpha", "c-prompt"].map((each) => document.getElementById(each));
  const start = performance.now(), what = document.getElementById(id);
  if (value === null) what.click();
  else { what.selectedIndex = value; what.dispatchEvent(new Event("change", { bubbles: true })); }
  const look = () => {
    const asked = chosen.map((each) => each.value).join(" ");
    if (document.getElementById("read").dataset.shown !== asked) return requestAnimationFrame(look);
    // What a frame changed is seen when the next one begins.
    requestAnimationFrame(() => done(performance.now() - start));
  };
  look();
})"""
"""Milliseconds from a click, or a choice in a list, to the frame in which its text is seen."""


def rows(file: Path, page: Path) -> Iterator[tuple[str, str]]:
    """Measure the page of a file; return each quantity and its value."""
    start = time.perf_counter()
    words = [sys.executable, "-m", "isoklx", "report", str(file), "--out", str(page)]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    yield "seconds to make it", f"{time.perf_counter() - start:.1f}"
    yield "size, MB", f"{page.stat().st_size / 1e6:.1f}"
    for what, milliseconds in _waits(page).items():
        median, worst = statistics.median(milliseconds), max(milliseconds)
        yield f"{what}, ms", f"{median:.0f} (at most {worst:.0f})"


def _waits(page: Path) -> dict[str, list[float]]:
    """Measure how long a reader waits in a browser."""
    if why := why_none():
        raise SystemExit(why)
    waits: dict[str, list[float]] = defaultdict(list)
    with launched() as browser:
        for _ in range(5):
            opened = browser.new_page()
            opened.goto(page.as_uri())
            opened.wait_for_timeout(1000)
            waits["first paint"].append(opened.evaluate(PAINT))
            opened.locator("#read").scroll_into_view_if_needed()
            for _ in range(3):
                early = opened.evaluate(ANSWER, ["c-after", None])
                waits["next prompt while figures are being drawn"].append(early)
            opened.wait_for_timeout(8000)
            for _ in range(4):
                waits["next prompt"].append(opened.evaluate(ANSWER, ["c-after", None]))
            for choice in product(["c-alpha", "c-cell"], [1, 2, 3]):
                waits["another cell or dose"].append(opened.evaluate(ANSWER, choice))
            opened.close()
    return waits
