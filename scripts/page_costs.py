"""What a page costs: its size, the first thing it paints, and how soon it answers a click.

Used by ``scripts/benchmark.py page``.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import isoklx
from isoklx.cells.simulator import grid, simulate

MODELS = [f"simulated/simulated-{size}B" for size in (1, 2, 4, 8, 16)]
METHODS = ("directional_ablation", "mean_diff", "pca")
ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)

BROWSERS = ("chromium", "chromium-browser", "google-chrome")

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


def make_sweep(folder: Path, seeds: int, prompts: int, window: int) -> Path:
    """A simulated sweep with texts, built unless that was done before."""
    file = folder / f"page_{seeds}x{prompts}x{window}.nc"
    if not file.exists():
        sizes = {"seeds": range(seeds), "windows": [window], "prompts": prompts}
        cells = grid(models=MODELS, methods=METHODS, alphas=ALPHAS, texts=True, **sizes)
        simulate(file.with_suffix(""), cells)
        isoklx.build(file.with_suffix(""), file, texts=True)
    return file


def rows(file: Path, page: Path) -> Iterator[tuple[str, str]]:
    """What is measured of the page of a file, and how much it is."""
    start = time.perf_counter()
    words = [sys.executable, "-m", "isoklx", "report", str(file), "--out", str(page)]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    yield "seconds to make it", f"{time.perf_counter() - start:.1f}"
    yield "size, MB", f"{page.stat().st_size / 1e6:.1f}"
    paints, early, clicks, choices = _in_a_browser(page)
    yield "first paint, ms", _span(paints)
    yield "next prompt while figures are being drawn, ms", _span(early)
    yield "next prompt, ms", _span(clicks)
    yield "another cell or dose, ms", _span(choices)


def _in_a_browser(page: Path) -> tuple[list[float], list[float], list[float], list[float]]:
    """Milliseconds to the first paint, the next prompt, early and late, and a choice."""
    from playwright.sync_api import sync_playwright

    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise SystemExit(f"no browser: none of {', '.join(BROWSERS)} is installed")
    # As root Chromium has no sandbox.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    paints, early, clicks, choices = [], [], [], []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=arguments)
        for _ in range(5):
            opened = browser.new_page()
            opened.goto(page.as_uri())
            opened.wait_for_timeout(1000)
            paints.append(opened.evaluate(PAINT))
            opened.locator("#read").scroll_into_view_if_needed()
            early += [opened.evaluate(ANSWER, ["c-after", None]) for _ in range(3)]
            opened.wait_for_timeout(8000)
            clicks += [opened.evaluate(ANSWER, ["c-after", None]) for _ in range(4)]
            choices += [opened.evaluate(ANSWER, ["c-alpha", i]) for i in (2, 4, 6)]
            choices += [opened.evaluate(ANSWER, ["c-cell", i]) for i in (1, 2, 4)]
            opened.close()
        browser.close()
    return paints, early, clicks, choices


def _span(values: list[float]) -> str:
    return f"{statistics.median(values):.0f} (at most {max(values):.0f})"
