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
from isoklx.plot.facets import note
from isoklx.plot.palette import ink, paper
from isoklx.plot.thinning import thin

MOST_LINES = 2000
"""Lines drawn in a panel."""

WIDEST = 100
"""Points; far beyond it matplotlib does not come to an end."""

Values = npt.NDArray[Any]
Floats = npt.NDArray[np.floating[Any]]
Levels = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Strokes:
    """How lines are drawn.

    Parameters
    ----------
    line_alpha : float, optional
        Opacity of a thin line, in (0, 1]; by default the more lines, the less.
    line_lw, median_lw : float
        Widths in points.

    Raises
    ------
    UsageError
        When one is out of range.

    Examples
    --------
    >>> Strokes().opacity(100)
    0.4
    """

    line_alpha: float | None = None
    line_lw: float = 0.6
    median_lw: float = 1.4

    def __post_init__(self) -> None:
        if self.line_alpha is not None and not 0 < self.line_alpha <= 1:
            raise UsageError(f"line_alpha={self.line_alpha}: give an opacity above 0, up to 1")
        for name in ("line_lw", "median_lw"):
            if not 0 < getattr(self, name) <= WIDEST:
                raise UsageError(
                    f"{name}={getattr(self, name)}: give a width above 0, up to {WIDEST} points"
                )

    def opacity(self, n_lines: int) -> float:
        """Opacity of each of so many lines."""
        if self.line_alpha is not None:
            return self.line_alpha
        return min(0.9, 4.0 / math.sqrt(max(n_lines, 1)))


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
    kept = thin(y)
    x, level = np.broadcast_to(x, y.shape), np.broadcast_to(level, y.shape)
    if kept is not None:
        x, y, level = (np.take_along_axis(values, kept, axis=1) for values in (x, y, level))
    pieces, levels = _pieces(np.stack([x, y], axis=-1, dtype=float), level)
    order = np.argsort(-levels, kind="stable")
    collection = LineCollection(
        [pieces[i] for i in order],
        linewidths=strokes.line_lw,
        alpha=strokes.opacity(len(y)),
        # Thousands of lines as vectors make a file that readers choke on.
        rasterized=True,
    )
    ax.add_collection(collection, autolim=False)
    return collection, levels[order]


def draw_median(ax: Axes, median: xr.DataArray, strokes: Strokes) -> None:
    """Draw a median upon the lines, along its only dimension."""
    median = median.dropna(median.dims[0])
    kept = thin(median.values[np.newaxis])
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
    prompts = _spread(ds.sizes["prompt"], MOST_LINES)
    return ds.isel(prompt=prompts, cell=_spread(ds.sizes["cell"], MOST_LINES // len(prompts)))


def in_memory_if_small(ds: xr.Dataset) -> xr.Dataset:
    """What is not dask-backed is read once; what is stays lazy."""
    return ds if ds["kl"].chunks else ds.compute()


def note_shown(ax: Axes, drawn: int, there: int) -> None:
    """Say of how many lines those that are drawn are a part, if they are not all."""
    if drawn < there:
        note(ax, f"{drawn} of {there} lines drawn")


def by_line(da: xr.DataArray, unit: str = "prompt") -> Values:
    """Values as an array of one row per trajectory."""
    return da.stack(line=["cell", unit], create_index=False).transpose("line", ...).values


def _spread(n: int, most: int) -> npt.NDArray[np.intp]:
    """Evenly spaced indices, all of them if there are no more than that."""
    return np.unique(np.linspace(0, n - 1, min(n, max(most, 1)), dtype=np.intp))


def _pieces(points: Floats, level: Levels) -> tuple[Sequence[Floats], Levels]:
    """Cut lines where the level changes; a piece reaches to the first point of the next one."""
    n_lines, length = level.shape
    present = ~np.isnan(points[..., 1])
    changes = np.ones(level.shape, dtype=bool)
    changes[:, 1:] = (level[:, 1:] != level[:, :-1]) | (present[:, 1:] != present[:, :-1])
    starts = np.flatnonzero(changes)
    ends = np.append(starts[1:], n_lines * length)
    same_line = ends % length != 0
    ends = ends + (same_line & np.append(present, False)[ends])
    drawn = present.flat[starts]
    points = points.reshape(-1, 2)
    spans = zip(starts[drawn], ends[drawn], strict=True)
    return [points[start:end] for start, end in spans], level.flat[starts[drawn]]
