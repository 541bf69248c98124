"""A browser, where there is one, that says of every page what went wrong in it."""

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
"""Whether the page shows what is chosen, or has nothing to choose from."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever opens a browser is slow."""
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
    """A page, and what it did that it should not."""

    page: Any
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def faultless(self) -> None:
        assert self.errors == []
        assert self.requests == []

    def say(self, script: str, *args: Any) -> Any:
        return self.page.evaluate(script, *args)

    def read(self, **choices: str) -> None:
        """Choose by hand, in the order given, and wait until it is shown."""
        for name, label in choices.items():
            self.page.locator(f"#c-{name}").select_option(label=label)
        self.settled()

    def settled(self) -> None:
        """Wait until the rollout that was chosen is the one that is shown."""
        self.page.wait_for_timeout(150)
        self.until(SHOWN)

    def until(self, script: str, seconds: float = 60) -> None:
        """Ask again and again: a page that forbids eval stops Playwright's own waiting."""
        end = time.monotonic() + seconds
        while not self.say(script):
            assert time.monotonic() < end, f"not within {seconds:g} s: {script}"
            self.page.wait_for_timeout(50)


@pytest.fixture
def visit(browser):
    """Open a page as a reader does."""
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
        if clock:  # one that the test can turn on, and that otherwise goes as any
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
    """The page of the sample."""
    sample = Path(__file__).resolve().parents[2] / "data" / "sample"
    with isoklx.open_sweep(sample, texts=True) as ds:
        return write_report(ds, tmp_path_factory.mktemp("page") / "sample.html")
