"""Trajectories drawn as thin lines, with their median."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D

from isoklx.plot import palette
from isoklx.plot.axes import Extent
from isoklx.plot.figure1_numbers import ANSWER_LINE, LINE
from isoklx.plot.layout import note
from isoklx.plot.lines import Strokes, add_lines, draw_median
from isoklx.stats.trajectories import default_roll

PMASS_LEVELS = 12
"""Number of shades: more could not be told apart, and would cut a line into more pieces."""

CROSSED, BELOW = 0, 1


def draw_lines(ax: Axes, panel: xr.Dataset, strokes: Strokes) -> Extent:
    """Draw the trajectories of one dose and row; return their extent."""
    lines, tokens = panel["kl"].transpose(LINE, "token").values, panel["token"].values
    drawable = ~np.isnan(lines).all(axis=1)
    drawn = lines[drawable]
    if 2 * panel.attrs["roll"] < default_roll(panel.attrs["window"]):
        strokes = strokes.of_rough_lines(len(drawn))
    if panel.attrs["color_by_pmass"]:
        level = _shade(panel["pmass_on_tokens"].transpose(LINE, "token").values[drawable])
        collection, levels = add_lines(ax, tokens, drawn, level, strokes)
        _colour_by_pmass(collection, levels)
    else:
        over = panel["crossed"].values[drawable] == 1
        level = np.where(over, CROSSED, BELOW)[:, np.newaxis]
        collection, levels = add_lines(ax, tokens, drawn, level, strokes)
        collection.set_color([(palette.CROSSED, palette.BELOW)[i] for i in levels])
    note_shown(ax, len(drawn), int(panel["n_lines"]))
    draw_median(ax, panel["kl_median"], strokes)
    return Extent.of_lines(lines, panel["kl_median"].values)


def draw_answer_lines(ax: Axes, panel: xr.Dataset, colour: str, strokes: Strokes) -> None:
    """Draw pmass of one dose at the forks, one line per prompt or question.

    `colour` is that of the dose, unless lines are coloured by pmass.
    """
    name = panel.attrs["answers"]
    lines, forks = panel[name].transpose(ANSWER_LINE, "fork").values, panel["fork"].values
    # Move NaN to the end: a fork that only other cells have must not interrupt the line.
    lines = lines[~np.isnan(lines).all(axis=1)]
    order = np.isnan(lines).argsort(axis=1, kind="stable")
    lines = np.take_along_axis(lines, order, axis=1)
    if panel.attrs["color_by_pmass"]:
        collection, levels = add_lines(ax, forks[order], lines, _shade(lines), strokes)
        _colour_by_pmass(collection, levels)
    else:
        level = np.zeros((len(lines), 1), int)
        collection, _ = add_lines(ax, forks[order], lines, level, strokes)
        collection.set_color(colour)
    draw_median(ax, panel[f"{name}_median"], strokes)


def note_shown(ax: Axes, drawn: int, total: int) -> None:
    """Note how many of the lines are drawn, if not all are."""
    if drawn < total:
        note(ax, f"{drawn} of {total} lines drawn")


def spaghetti_legend() -> list[Artist]:
    """Make the legend of the colours of `draw_lines` without `color_by_pmass`."""
    return [
        Line2D([], [], color=palette.CROSSED, label="crossed target KL"),
        Line2D([], [], color=palette.BELOW, label="stayed below it"),
    ]


def unknown_legend(drawn: xr.Dataset) -> list[Artist]:
    """Make the legend of grey lines, if any line has KL without pmass."""
    unknown = drawn["kl"].notnull() & drawn["pmass_on_tokens"].isnull()
    return [Line2D([], [], color=palette.UNKNOWN, label="pmass unknown")] if unknown.any() else []


def _shade(pmass: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.int8]:
    """Return the shade of each token; PMASS_LEVELS for NaN."""
    shade = np.clip(pmass * PMASS_LEVELS, 0, PMASS_LEVELS - 1)
    return np.where(np.isnan(shade), PMASS_LEVELS, shade).astype(np.int8)


def _colour_by_pmass(collection: LineCollection, levels: npt.NDArray[np.integer[Any]]) -> None:
    middle = (levels.astype(float) + 0.5) / PMASS_LEVELS
    shade = np.where(levels < PMASS_LEVELS, middle, np.nan)
    collection.set(cmap=palette.pmass_colours(), clim=(0, 1), array=shade)
