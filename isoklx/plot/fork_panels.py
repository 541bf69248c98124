"""pmass at the forks: what the model answered when its rollout was interrupted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from isoklx.plot.bands import Kind, draw_band, levels
from isoklx.plot.facets import say_why_empty
from isoklx.plot.lines import Strokes, Values, add_lines, by_line, draw_median
from isoklx.stats.trajectories import quantile

UNITS = {"pmass": "question", "pmass_eval": "prompt"}


def asked(ds: xr.Dataset) -> str | None:
    """Name the pmass to draw: that of the questions, else of the prompts, else none."""
    return next((name for name in UNITS if ds[name].notnull().any()), None)


def forks_legend(name: str, colours: Iterable[str]) -> tuple[Artist, ...]:
    """What the thin lines of `draw_forks` stand for, in the colours of all doses."""
    label = f"{name} of a {UNITS[name]}"
    return tuple(Line2D([], [], color=colour, label=label) for colour in colours)


def draw_forks(
    ax: Axes,
    pmass: xr.DataArray,
    kind: Kind | Literal["spaghetti"],
    colour: str,
    strokes: Strokes,
) -> None:
    """Draw pmass of one dose, of dimensions ``cell``, ``question`` (``prompt``) and ``fork``."""
    ax.set_ylim(-0.03, 1.05)
    ax.set_yticks([0, 0.5, 1])
    pmass = pmass.compute()
    unit = next(str(dim) for dim in pmass.dims if dim in UNITS.values())
    if not pmass.notnull().any():
        say_why_empty(ax, "no pmass")
    elif kind == "spaghetti":
        _draw_lines(ax, pmass["fork"].values, by_line(pmass, unit), colour, strokes)
        draw_median(ax, quantile(pmass, 0.5, ["cell", unit]), strokes)
    else:
        quantiles = quantile(pmass, levels(kind), ["cell", unit])
        draw_band(ax, quantiles, kind, colour, strokes, marker="o")


def _draw_lines(ax: Axes, forks: Values, lines: Values, colour: str, strokes: Strokes) -> None:
    # A fork that only other cells have is no gap in the line.
    lines = lines[~np.isnan(lines).all(axis=1)]
    order = np.isnan(lines).argsort(axis=1, kind="stable")
    lines = np.take_along_axis(lines, order, axis=1)
    collection, _ = add_lines(ax, forks[order], lines, np.zeros((len(lines), 1), int), strokes)
    collection.set_color(colour)
