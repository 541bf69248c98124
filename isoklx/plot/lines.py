"""Many thin lines in one panel: few points each, drawn as one collection."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patheffects import withStroke

from isoklx.errors import UsageError
from isoklx.plot.palette import ink, paper

PER_INCH, PER_INCH_OF_MANY, MANY = 240, 60, 20
"""Columns of an inch, of each of which the lowest and the highest value are drawn: a pixel each in
a file of 200 dots per inch, and three pixels each of so many lines that they fill them anyway."""

SHORT = 1500
"""Positions; with fewer it takes no time to draw them all."""

COLUMNS = 500
"""Of a panel of unknown width."""

PIXEL, DECADES = 1 / 400, 4.0
"""Height of a pixel over that of a panel; and of a logarithmic one in powers of e, at least."""

PICKED = 3
"""Positions kept in a column: lowest, highest, and a gap."""


def thin_for(ax: Axes, lines: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.intp] | None:
    """As `thin`, for the pixels of a panel; None for lines that are short in any panel.

    Parameters
    ----------
    ax : Axes
        Of a figure that need not be laid out yet.
    lines : array (line, position), floating
    """
    if lines.shape[1] <= SHORT:
        return None
    figure = ax.figure
    inches = ax.get_position().width * figure.bbox.width / figure.dpi
    per_inch = PER_INCH if len(lines) < MANY else PER_INCH_OF_MANY
    return thin(lines, math.ceil(inches * per_inch))


def thin(
    lines: npt.NDArray[np.floating[Any]], columns: int = COLUMNS
) -> npt.NDArray[np.intp] | None:
    """Choose the positions of each line that are worth drawing, where there are too many.

    The positions are cut into as many runs of equal length as the panel has columns of pixels. Of
    each run the lowest and the highest value stay, and a NaN if it has one; of the whole line the
    first and the last value stay as well. So the line covers the same pixels as before: a spike
    keeps its height, and a gap as wide as a column stays open.

    Parameters
    ----------
    lines : array (line, position), floating
        NaN where a line has a gap, or has ended.
    columns : int
        Columns of pixels.

    Returns
    -------
    array (line, kept), int, or None
        Positions of each line, ascending, some of them repeated; None, where nothing would be
        gained: up to ``3 * columns`` positions. Of a gap within a line one NaN stays in each run.

    Examples
    --------
    >>> spike = np.array([[0, 0, 0, 0, 9, 0, 0, 0.0]])
    >>> thin(spike, columns=2)
    array([[0, 0, 0, 4, 5, 7]])
    >>> thin(spike, columns=4) is None
    True
    """
    n_lines, length = lines.shape
    if length <= PICKED * columns:
        return None
    width = -(-length // columns)
    n_runs = -(-length // width)
    runs = np.full((n_lines, n_runs * width), np.nan, dtype=lines.dtype)
    runs[:, :length] = lines
    runs = runs.reshape(n_lines, n_runs, width)
    gap = np.isnan(runs)
    picks = [
        np.where(gap, np.inf, runs).argmin(axis=-1),
        np.where(gap, -np.inf, runs).argmax(axis=-1),
    ]
    there = ~np.isnan(lines)
    first, last = there.argmax(axis=1), length - 1 - there[:, ::-1].argmax(axis=1)
    # What ended leaves no gap behind.
    if there.sum() < (last - first + 1)[there.any(axis=1)].sum():
        picks.append(np.where(gap.any(axis=-1), gap.argmax(axis=-1), picks[0]))
    starts = np.arange(n_runs) * width
    ends = [first[:, None], last[:, None]]
    kept = np.concatenate([*(starts + pick for pick in picks), *ends], axis=1)
    kept.sort(axis=1)
    within: npt.NDArray[np.intp] = np.minimum(kept, length - 1)
    return within


def unseen(
    kept: npt.NDArray[np.intp], lines: npt.NDArray[np.floating[Any]]
) -> npt.NDArray[np.bool_]:
    """Tell which of the points that `thin` chose lie upon the one before them.

    Parameters
    ----------
    kept : array (line, kept), int
        Their positions.
    lines : array (line, kept), floating
        Their values.

    Returns
    -------
    array (line, kept - 1), bool
        Of each point but the first: whether it is the one before, or so near to it that the two are
        one pixel on a linear axis and on a logarithmic one. Ends of lines and of gaps stay.

    Examples
    --------
    >>> unseen(np.array([[0, 0, 3, 4, 9]]), np.array([[1, 1, 5, 5.001, 1.0]]))
    array([[ True, False,  True, False]])
    """
    same = np.asarray(kept[:, 1:] == kept[:, :-1])
    before, here = np.abs(lines[:, :-1]), np.abs(lines[:, 1:])
    highest = np.fmax.reduce(here, axis=None, initial=0.0)
    step = np.abs(lines[:, 1:] - lines[:, :-1])
    near = (step < PIXEL * highest) & (step < PIXEL * DECADES * np.minimum(before, here))
    # Not every point of a slow rise, but every other one at most.
    near[:, 1::2] = False
    near[:, -1] = False
    return np.asarray(same | near)


MOST_LINES = 2000
"""Lines drawn in a panel."""

WIDEST = 100
"""Points; far beyond it matplotlib does not come to an end."""

ROUGH, FAINTEST = 0.4, 0.04
"""Opacity of a line that is not smooth, over the root of their number, so that one can see where
most of them are; and the least, at which a spike by itself is seen."""

Values = npt.NDArray[Any]
Floats = npt.NDArray[np.floating[Any]]
Levels = npt.NDArray[np.integer[Any]]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Strokes:
    """How lines are drawn.

    Parameters
    ----------
    line_alpha : float, optional
        Opacity of a thin line, in (0, 1]; by default the more lines, the less.
    line_lw : float, optional
        Width of a thin line, in points; by default the more lines, the thinner.
    median_lw : float
        Width of a median, in points.

    Raises
    ------
    UsageError
        When one is out of range.

    Examples
    --------
    >>> Strokes().opacity(100)
    0.3
    """

    line_alpha: float | None = None
    line_lw: float | None = None
    median_lw: float = 1.4

    def __post_init__(self) -> None:
        if self.line_alpha is not None and not 0 < self.line_alpha <= 1:
            raise UsageError(f"line_alpha={self.line_alpha}: give an opacity above 0, up to 1")
        for name in ("line_lw", "median_lw"):
            width = getattr(self, name)
            if width is not None and not 0 < width <= WIDEST:
                raise UsageError(f"{name}={width}: give a width above 0, up to {WIDEST} points")

    def opacity(self, n_lines: int) -> float:
        """Opacity of each of so many lines."""
        if self.line_alpha is not None:
            return self.line_alpha
        return min(0.9, 3.0 / math.sqrt(max(n_lines, 1)))

    def width(self, n_lines: int) -> float:
        """Width of each of so many lines, in points."""
        if self.line_lw is not None:
            return self.line_lw
        return min(0.6, max(0.2, 2.4 / math.sqrt(max(n_lines, 1))))

    def of_rough_lines(self, n_lines: int) -> Strokes:
        """For lines that are not smooth: each is drawn up and down over all pixels there are."""
        rough = max(ROUGH / math.sqrt(max(n_lines, 1)), FAINTEST)
        return Strokes(
            rough if self.line_alpha is None else self.line_alpha,
            0.5 * self.width(n_lines) if self.line_lw is None else self.line_lw,
            self.median_lw,
        )


def add_lines(
    ax: Axes, x: npt.NDArray[Any], y: Floats, level: Levels, strokes: Strokes
) -> tuple[LineCollection, Levels]:
    """Draw each row of `y`, thinned, in pieces of the same level; the lowest level on top.

    Parameters
    ----------
    ax : Axes
    x : array (position,)
    y : array (line, position), floating
        NaN where there is nothing to draw.
    level : array (line, position) or (line, 1), int
        What a colour will stand for.
    strokes : Strokes

    Returns
    -------
    collection : LineCollection
        One path for each piece, not coloured yet.
    levels : array (path,), int
        Level of each piece.
    """
    kept = thin_for(ax, y)
    x, level = np.broadcast_to(x, y.shape), np.broadcast_to(level, y.shape)
    again = np.zeros(y.shape, dtype=bool)
    if kept is not None:
        x, y, level = (np.take_along_axis(values, kept, axis=1) for values in (x, y, level))
        again = np.zeros(y.shape, dtype=bool)
        again[:, 1:] = unseen(kept, y)
    pieces, levels = _pieces(np.stack([x, y], axis=-1, dtype=float), level, again)
    order = np.argsort(-levels, kind="stable")
    collection = LineCollection(
        [pieces[i] for i in order],
        linewidths=strokes.width(len(y)),
        alpha=strokes.opacity(len(y)),
        # Thousands of lines as vectors make a file that readers choke on.
        rasterized=True,
        # Round joins of lines as thin as a pixel nobody sees, and they take half of the time.
        joinstyle="bevel",
    )
    ax.add_collection(collection, autolim=False)
    return collection, levels[order]


def draw_median(ax: Axes, median: xr.DataArray, strokes: Strokes) -> None:
    """Draw a median upon the lines, along its only dimension."""
    median = median.dropna(median.dims[0])
    kept = thin_for(ax, median.values[np.newaxis])
    if kept is not None:
        median = median.isel({median.dims[0]: kept[0]})
    width = strokes.median_lw
    ax.plot(
        median[median.dims[0]].values,
        median.values,
        color=ink(),
        linewidth=width,
        path_effects=[withStroke(linewidth=width + 0.8, foreground=paper())],
    )


def shown(ds: xr.Dataset) -> xr.Dataset:
    """As many cells and prompts as make at most `MOST_LINES`, spread evenly over all there are.

    More lines than that are one blot, and take memory and time without end; what is said of
    trajectories (medians, counts, shares) is of all of them.
    """
    if ds.sizes["prompt"] * ds.sizes["cell"] <= MOST_LINES:
        return ds
    prompts = _spread(ds.sizes["prompt"], MOST_LINES)
    return ds.isel(prompt=prompts, cell=_spread(ds.sizes["cell"], MOST_LINES // len(prompts)))


def in_memory_if_small(ds: xr.Dataset) -> xr.Dataset:
    """What is not dask-backed is read once; what is stays lazy."""
    return ds if ds["kl"].chunks else ds.compute()


def _spread(n: int, most: int) -> npt.NDArray[np.intp]:
    """Evenly spaced indices, all of them if there are no more than that."""
    return np.unique(np.linspace(0, n - 1, min(n, max(most, 1)), dtype=np.intp))


def _pieces(points: Floats, level: Levels, again: Mask) -> tuple[Sequence[Floats], Levels]:
    """Cut lines where the level changes; a piece reaches to the first point of the next one.

    Points that would be drawn again are left out.
    """
    kept = ~again
    line = np.broadcast_to(np.arange(len(level))[:, np.newaxis], level.shape)[kept]
    points, level = points[kept], level[kept]
    present = ~np.isnan(points[:, 1])
    same_line = line[1:] == line[:-1]
    changes = ~same_line | (level[1:] != level[:-1]) | (present[1:] != present[:-1])
    starts = np.append(0, np.flatnonzero(changes) + 1)
    ends = np.append(starts[1:], len(level))
    ends = ends + np.append(same_line, False)[ends - 1] * np.append(present, False)[ends]
    drawn = present[starts] if len(level) else np.zeros(1, bool)
    spans = zip(starts[drawn], ends[drawn], strict=True)
    return [points[start:end] for start, end in spans], level[starts[drawn]]
