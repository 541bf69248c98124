"""Remake docs/img: what README and pages show, by the code of docs/gallery.md that makes it there.

The site makes its own when it is built. Run it from anywhere: ``python scripts/draw_readme.py``.
"""

from __future__ import annotations

import contextlib
import re
from itertools import takewhile
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


def figures() -> list[str]:
    """Return the tags of the gallery's figures."""
    return [tag for tag, _ in code_cells(GALLERY.read_text()) if tag not in ("", "remove-cell")]


def drawn(tag: str, **instead: Any) -> dict[str, Any]:
    """Run the code of one of the gallery's figures; all names that there are then.

    Parameters
    ----------
    tag : str
        One of `figures`.
    **instead : object
        What to draw with in the place of a name that the page defines, as another ``ds``.

    Returns
    -------
    dict
        By name.
    """
    cells = code_cells(GALLERY.read_text())
    before = takewhile(lambda cell: cell[0] in ("", "remove-cell"), cells)
    names: dict[str, Any] = {}
    with contextlib.chdir(PROJECT / "docs"):
        for _, code in before:
            exec(code, names)
        names |= instead
        exec(dict(cells)[tag], names)
    return names


def draw_readme(folder: Path) -> list[Path]:
    """Draw the pictures into `folder`."""
    mpl.use("agg")
    written = []
    for tag in SHOWN:
        written += save(drawn(tag)["grid"], folder, tag, dpi=150)
        plt.close("all")
    return written


if __name__ == "__main__":
    for path in draw_readme(IMAGES):
        print(path.relative_to(PROJECT))
