"""Marks of cells in the rows of the calibration figure, stacked so that none overlap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from isoklx.plot.page import points
from isoklx.plot.palette import ink, paper

ROW_KEYS = ["model", "method", "row", "window"]
"""Columns that identify a row; ``row`` is the method, with side and temperature if they differ."""

LARGEST_STACK = 5
"""Number of stacked marks above which their count is written beside them."""

MARK_WIDTH = 0.03
"""Width of a mark as a fraction of the panel's width."""


def draw_cells(ax: Axes, cells: pd.DataFrame, rows: pd.DataFrame) -> None:
    """Draw each cell's mark at its ``x`` and line from ``lower`` to ``upper`` (NaN: no line).

    The x axis must already have its scale and limits; `rows` are ordered from the top.
    """
    scale = np.log if ax.get_xscale() == "log" else np.asarray
    low, high = scale(ax.get_xlim())
    near = MARK_WIDTH * (high - low)
    members = dict(iter(cells.sort_values("x").groupby(ROW_KEYS)))
    for y, key in enumerate(rows[ROW_KEYS].itertuples(index=False, name=None)):
        if rows["heading"][y] or key not in members:
            continue
        ax.axhline(y, color=ink(), alpha=0.12, linewidth=0.6, zorder=0)
        row = members[key]
        stack = _stacks(row, scale, near)
        height, level = np.bincount(stack)[stack], row.groupby(stack).cumcount().to_numpy()
        row = row.assign(y=y + (level - (height - 1) / 2) * np.minimum(0.3, 0.8 / height))
        bounded = row.dropna(subset=["lower", "upper"])
        colour = row["colour"].iat[0]
        if len(bounded):
            ends = bounded["y"], bounded["lower"], bounded["upper"]
            ax.hlines(*ends, color=colour, linewidth=0.8, zorder=1.5)
        for filled, marks in row.groupby("filled"):
            ax.plot(
                marks["x"],
                marks["y"],
                linestyle="none",
                marker=row["marker"].iat[0],
                markersize=4,
                markeredgewidth=0.3 if filled else 0.8,
                markeredgecolor=paper() if filled else colour,
                color=colour if filled else paper(),
            )
        for _, marks in row[height > LARGEST_STACK].groupby(stack[height > LARGEST_STACK]):
            # A stack of overlapping intervals with separate marks needs no count.
            if np.ptp(scale(marks["x"])) < near:
                ax.annotate(
                    f"\N{MULTIPLICATION SIGN}{len(marks)}",
                    (marks["x"].max(), y),
                    (5, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=points("note"),
                )
    ax.set_ylim(len(rows) - 0.4, -0.6)


def _stacks(row: pd.DataFrame, scale: Callable[[Any], Any], near: float) -> Any:
    """Assign stack numbers in the order of ``x``; overlapping marks and intervals share a stack."""
    with np.errstate(divide="ignore"):
        ends = [scale(row[name].fillna(row["x"]).to_numpy()) for name in ("lower", "upper")]
    reach = np.maximum.accumulate(ends[1])
    next_start = np.minimum.accumulate(ends[0][::-1])[::-1]
    return np.cumsum(np.append(False, next_start[1:] - reach[:-1] > near))
