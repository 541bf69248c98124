"""Fixtures: pages opened in a browser, if installed, with their errors."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import isoklx
from isoklx.report import write_report
from tests.report.browsers import launched, why_none

SHOWN = """() => {
  const chosen = ["c-cell", "c-alpha", "c-prompt"].map((id) => document.getElementById(id)?.value);
  return !chosen[0] || document.getElementById("read").dataset.shown === chosen.join(" ");
}"""
"""JavaScript: whether the page shows the chosen rollout, or has none."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that opens a browser as slow."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def browser():
    pytest.importorskip("playwright.sync_api")
    if why := why_none():
        pytest.skip(why)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        with launched() as opened:
            yield opened


@dataclass
class Opened:
    """An open page, with its requests and errors."""

    page: Any
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def faultless(self) -> None:
        assert self.errors == []
        assert self.requests == []

    def say(self, script: str, *args: Any) -> Any:
        return self.page.evaluate(script, *args)

    def read(self, **choices: str) -> None:
        """Choose options in order, and wait until the rollout is shown."""
        for name, label in choices.items():
            self.page.locator(f"#c-{name}").select_option(label=label)
        self.settled()

    def settled(self) -> None:
        """Wait until the chosen rollout is shown."""
        self.page.wait_for_timeout(150)
        self.until(SHOWN)

    def until(self, script: str, seconds: float = 60) -> None:
        """Poll, since the page forbids eval, which Playwright's waiting needs."""
        end = time.monotonic() + seconds
        while not self.say(script):
            assert time.monotonic() < end, f"not within {seconds:g} s: {script}"
            self.page.wait_for_timeout(50)


@pytest.fixture
def visit(browser):
    """Open a page in the browser."""
    contexts = []

    def opened(
        path: Path, *, drawn: bool = True, place: str = "", clock: bool = False, **options: Any
    ) -> Opened:
        context = browser.new_context(
            **{"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce", **options}
        )
        contexts.append(context)
        found = Opened(context.new_page())
        found.page.on("pageerror", lambda error: found.errors.append(str(error)))
        found.page.on(
            "console",
            lambda said: found.errors.append(said.text) if said.type in ("error", "warning") else 0,
        )
        local = ("file:", "data:", "blob:")
        found.page.on(
            "request",
            lambda asked: None if asked.url.startswith(local) else found.requests.append(asked.url),
        )
        if clock:  # a clock that the test can advance
            found.page.clock.install(time=0)
        found.page.goto(path.resolve().as_uri() + place)
        if drawn:
            found.page.wait_for_selector("html[data-drawn=all]", state="attached")
        return found

    yield opened
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def sample_page(tmp_path_factory) -> Path:
    """Write the page of the sample."""
    sample = Path(__file__).resolve().parents[2] / "data" / "sample"
    with isoklx.open_sweep(sample, texts=True) as ds:
        return write_report(ds, tmp_path_factory.mktemp("page") / "sample.html")
