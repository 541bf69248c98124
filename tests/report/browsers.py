"""Chromium for the tests and the benchmark of the page."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def why_none() -> str | None:
    """Return why a browser cannot be opened, or None."""
    return None if _found() else f"no browser: none of {', '.join(BROWSERS)} is installed"


@contextmanager
def launched() -> Iterator[Any]:
    """Open a browser with Playwright."""
    from playwright.sync_api import sync_playwright

    # Chromium has no sandbox for root, the user in containers.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=_found(), args=arguments)
        yield opened
        opened.close()


def _found() -> str | None:
    return next(filter(None, map(shutil.which, BROWSERS)), None)
