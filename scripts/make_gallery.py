"""Remake docs/img: every figure of the README, drawn from the simulated sample.

Run it from anywhere: ``python scripts/make_gallery.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import xarray as xr

import isoklx
import isoklx.plot
from isoklx.plot.saving import save

PROJECT = Path(__file__).resolve().parents[1]
SAMPLE = PROJECT / "data" / "sample"
IMAGES = PROJECT / "docs" / "img"

ALPHAS = [0.5, 1.0, 2.0, 4.0]

FIGURES: dict[str, Callable[[xr.Dataset], Any]] = {
    "figure1_band": lambda ds: isoklx.plot.figure1(ds, alphas=ALPHAS),
    "figure1_fan": lambda ds: isoklx.plot.figure1(ds, kind="fan", alphas=ALPHAS),
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


def make_gallery(folder: Path) -> list[Path]:
    """Draw all figures into `folder`."""
    mpl.use("agg")
    ds = isoklx.open_sweep(SAMPLE)
    written = []
    for name, draw in FIGURES.items():
        written += save(draw(ds), folder, name, dpi=150)
        plt.close("all")
    return written


if __name__ == "__main__":
    for path in make_gallery(IMAGES):
        print(path.relative_to(PROJECT))
