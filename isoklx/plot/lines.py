"""Many thin lines in one panel, each thinned to the pixels, drawn as one collection."""

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
"""Columns per inch in which the minimum and the maximum of a line are kept: one pixel each at 200
dots per inch. From MANY lines on, three pixels each, since the lines fill the panel.
"""

SHORT = 1500
"""Positions; shorter lines are drawn quickly enough without thinning."""

COLUMNS = 500
"""Columns of a panel of unknown width."""

PIXEL, DECADES = 1 / 400, 4.0
"""Height of a pixel over that of the panel; minimum height of a log axis, in powers of e."""

PICKED = 3
"""Positions kept per column: minimum, maximum and a gap."""


def thin_for(ax: Axes, lines: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.intp] | None:
    """Call `thin` for the pixel columns of a panel; return None for short lines."""
    if lines.shape[1] <= SHORT:
        return None
    figure = ax.figure
    inches = ax.get_position().width * figure.bbox.width / figure.dpi
    per_inch = PER_INCH if len(lines) < MANY else PER_INCH_OF_MANY
    return thin(lines, math.ceil(inches * per_inch))


def thin(
    lines: npt.NDArray[np.floating[Any]], columns: int = COLUMNS
) -> npt.NDArray[np.intp] | None:
    """Choose the positions of each line (line, position) that are worth drawing, or None for all.

    The positions are divided into equally long runs, one per pixel column. Each run keeps its
    minimum, its maximum and one NaN, if any; each line also keeps its first and last value. The
    line thus covers the same pixels: a spike keeps its height, and a gap as wide as a column stays
    open. The result (line, kept) is ascending, with repetitions; it is None for up to ``3 *
    columns`` positions.
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
    # A line that has ended has no gap after its end.
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
    """Return which kept points but the first fall on the pixel of the point before.

    This holds on a linear and on a logarithmic axis. Ends of lines and of gaps are never among
    them.
    """
    same = np.asarray(kept[:, 1:] == kept[:, :-1])
    before, here = np.abs(lines[:, :-1]), np.abs(lines[:, 1:])
    highest = np.fmax.reduce(here, axis=None, initial=0.0)
    step = np.abs(lines[:, 1:] - lines[:, :-1])
    near = (step < PIXEL * highest) & (step < PIXEL * DECADES * np.minimum(before, here))
    # Drop at most every other point, or a slow rise would vanish.
    near[:, 1::2] = False
    near[:, -1] = False
    return np.asarray(same | near)


MOST_LINES = 2000
"""Maximum number of lines drawn in a panel."""

WIDEST = 100
"""Points; matplotlib does not finish drawing much wider lines."""

ROUGH, FAINTEST = 0.4, 0.04
"""Opacity of an unsmoothed line times the square root of their number, so that dense regions stand
out; and the minimum opacity, at which a single spike is visible.
"""

Values = npt.NDArray[Any]
Floats = npt.NDArray[np.floating[Any]]
Levels = npt.NDArray[np.integer[Any]]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Strokes:
    """Opacity and width of lines; the defaults decrease with the number of lines."""

    line_alpha: float | None = None  # opacity, in (0, 1]
    line_lw: float | None = None  # points
    median_lw: float = 1.4  # points

    def __post_init__(self) -> None:
        if self.line_alpha is not None and not 0 < self.line_alpha <= 1:
            raise UsageError(f"line_alpha must be above 0 and at most 1, got {self.line_alpha}")
        for name in ("line_lw", "median_lw"):
            width = getattr(self, name)
            if width is not None and not 0 < width <= WIDEST:
                raise UsageError(f"{name} must be above 0 and at most {WIDEST} points, got {width}")

    def opacity(self, n_lines: int) -> float:
        """Return the opacity of each of `n_lines` lines."""
        if self.line_alpha is not None:
            return self.line_alpha
        return min(0.9, 3.0 / math.sqrt(max(n_lines, 1)))

    def width(self, n_lines: int) -> float:
        """Return the width of each of `n_lines` lines, in points."""
        if self.line_lw is not None:
            return self.line_lw
        return min(0.6, max(0.2, 2.4 / math.sqrt(max(n_lines, 1))))

    def of_rough_lines(self, n_lines: int) -> Strokes:
        """Return fainter and thinner strokes for unsmoothed lines, which cross every pixel."""
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

    `y` is (line, position), NaN for gaps; `level` is (line, position) or (line, 1). Returns an
    uncoloured collection with one path per piece, and the level of each path.
    """
    kept = thin_for(ax, y)
    x, level = np.broadcast_to(x, y.shape), np.broadcast_to(level, y.shape)
    repeated = np.zeros(y.shape, dtype=bool)
    if kept is not None:
        x, y, level = (np.take_along_axis(values, kept, axis=1) for values in (x, y, level))
        repeated = np.zeros(y.shape, dtype=bool)
        repeated[:, 1:] = unseen(kept, y)
    pieces, levels = _pieces(np.stack([x, y], axis=-1, dtype=float), level, repeated)
    order = np.argsort(-levels, kind="stable")
    collection = LineCollection(
        [pieces[i] for i in order],
        linewidths=strokes.width(len(y)),
        alpha=strokes.opacity(len(y)),
        # Viewers are slow on thousands of vector lines.
        rasterized=True,
        # Round joins are invisible at this width, and take half of the time.
        joinstyle="bevel",
    )
    ax.add_collection(collection, autolim=False)
    return collection, levels[order]


def draw_median(ax: Axes, median: xr.DataArray, strokes: Strokes) -> None:
    """Draw a median over the lines, along its only dimension."""
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
    """Select cells and prompts that make at most `MOST_LINES` lines, evenly spread.

    More lines are one blot, and cost much memory and time. Medians, counts and shares still use all
    trajectories.
    """
    if ds.sizes["prompt"] * ds.sizes["cell"] <= MOST_LINES:
        return ds
    prompts = _evenly_spaced(ds.sizes["prompt"], MOST_LINES)
    return ds.isel(
        prompt=prompts, cell=_evenly_spaced(ds.sizes["cell"], MOST_LINES // len(prompts))
    )


def in_memory_if_small(ds: xr.Dataset) -> xr.Dataset:
    """Load the Dataset unless it is dask-backed."""
    return ds if ds["kl"].chunks else ds.compute()


def _evenly_spaced(n: int, most: int) -> npt.NDArray[np.intp]:
    """Return at most `most` evenly spaced indices of `n`."""
    return np.unique(np.linspace(0, n - 1, min(n, max(most, 1)), dtype=np.intp))


def _pieces(points: Floats, level: Levels, repeated: Mask) -> tuple[Sequence[Floats], Levels]:
    """Cut lines where the level changes; each piece extends to the first point of the next one.

    Points marked in `repeated` are left out.
    """
    kept = ~repeated
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
