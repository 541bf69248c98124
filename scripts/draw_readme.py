"""Remake docs/img: what README and pages show, by the code of docs/gallery.md that makes it there.

The site makes its own when it is built. Run it from anywhere: ``python scripts/draw_readme.py``.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt

from isoklx.plot.saving import save

PROJECT = Path(__file__).resolve().parents[1]
GALLERY = PROJECT / "docs" / "gallery.md"
IMAGES = PROJECT / "docs" / "img"

SHOWN = ("figure1_band", "dose_response")
"""The pictures, by the tags of the gallery's code."""

CELL = re.compile(
    r"^```\{code-cell\} python\n(?P<head>(---\n.*?^---\n|:[^\n]*\n)?)(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def code_cells(page: str) -> list[tuple[str, str]]:
    r"""Each code cell of a page that is a notebook: its tag, if it has one, and its code.

    Lines that only a notebook understands are left out.

    Examples
    --------
    >>> page = "```{code-cell} python\n:tags: [one]\n%time\na = 1\n```\n"
    >>> code_cells(page)
    [('one', 'a = 1')]
    """
    found = []
    for cell in CELL.finditer(page):
        tag = re.search(r"tags: \[([\w-]+)\]", cell["head"])
        lines = [line for line in cell["code"].splitlines() if not line.startswith("%")]
        found.append((tag[1] if tag else "", "\n".join(lines)))
    return found


def draw_readme(folder: Path) -> list[Path]:
    """Draw the pictures into `folder`."""
    mpl.use("agg")
    written = []
    names: dict[str, Any] = {}
    with contextlib.chdir(PROJECT / "docs"):
        for tag, code in code_cells(GALLERY.read_text()):
            exec(code, names)
            if tag in SHOWN:
                written += save(names["grid"], folder, tag, dpi=150)
            plt.close("all")
    return written


if __name__ == "__main__":
    for path in draw_readme(IMAGES):
        print(path.relative_to(PROJECT))
