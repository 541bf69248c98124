"""Remake docs/img: every picture of docs/gallery.md, drawn from the simulated sample.

The figures of isoklx are listed here; a recipe is the code above its picture in the page. Run it
from anywhere: ``python scripts/make_gallery.py``.
"""

from __future__ import annotations

import contextlib
import doctest
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import xarray as xr
from matplotlib.figure import Figure

import isoklx
import isoklx.plot
from isoklx.plot.saving import save

PROJECT = Path(__file__).resolve().parents[1]
SAMPLE = PROJECT / "data" / "sample"
PAGE = PROJECT / "docs" / "gallery.md"
IMAGES = PROJECT / "docs" / "img"

ALPHAS = [0.5, 1.0, 2.0, 4.0]

FIGURES: dict[str, Callable[[xr.Dataset], Any]] = {
    "figure1_band": lambda ds: isoklx.plot.figure1(ds, alphas=ALPHAS),
    "figure1_fan": lambda ds: isoklx.plot.figure1(ds, kind="fan", alphas=ALPHAS),
    "figure1_hue": lambda ds: isoklx.plot.figure1(ds, hue="method", alphas=ALPHAS),
    "figure1_column": lambda ds: isoklx.plot.figure1(
        ds, alphas=ALPHAS, width="column", title=False
    ),
    "figure1_spaghetti": lambda ds: isoklx.plot.figure1(ds, kind="spaghetti", alphas=ALPHAS),
    "figure1_by_pmass": lambda ds: isoklx.plot.figure1(
        ds, kind="spaghetti", color_by_pmass=True, kl_only=True, alphas=ALPHAS
    ),
    "alive": lambda ds: isoklx.plot.alive(ds, alphas=ALPHAS),
    "survival": lambda ds: isoklx.plot.survival(ds, threshold=[0.75, 0.95]),
    "dose_response": lambda ds: isoklx.plot.dose_response(ds, survive=0.6),
    "calibration": isoklx.plot.calibration,
}
"""Each figure by the name of its file."""


def recipes(page: str) -> dict[str, list[doctest.Example]]:
    """The code above each picture of the page that is a recipe's, by the picture's name."""
    parts = re.split(r"img/(recipe_\w+)\.png", page)
    parser = doctest.DocTestParser()
    return {
        name: parser.get_examples(code)
        for code, name in zip(parts[:-1:2], parts[1::2], strict=True)
    }


def _cook(examples: Iterable[doctest.Example], names: dict[str, Any]) -> Figure:
    for example in examples:
        exec(example.source, names)
    return plt.gcf()


def make_gallery(folder: Path) -> list[Path]:
    """Draw all figures into `folder`."""
    mpl.use("agg")
    ds = isoklx.open_sweep(SAMPLE)
    written = []
    for name, draw in FIGURES.items():
        written += save(draw(ds), folder, name, dpi=150)
        plt.close("all")
    names: dict[str, Any] = {}
    with contextlib.chdir(PROJECT):
        for name, examples in recipes(PAGE.read_text()).items():
            figure = _cook(examples, names)
            figure.savefig(folder / f"{name}.png", dpi=110)
            written.append(folder / f"{name}.png")
            plt.close("all")
    return written


if __name__ == "__main__":
    for path in make_gallery(IMAGES):
        print(path.relative_to(PROJECT))
