"""Marks of cells in the rows of the calibration figure, with their intervals, none upon another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from isoklx.plot.page import points
from isoklx.plot.palette import ink, paper

ROW_KEYS = ["model", "method", "row", "window"]
"""What a row is of; ``row`` is the method, with its side or temperature where there are several."""

LARGEST_STACK = 5
"""Marks upon each other that can be counted; of more, the number is written beside them."""

MARK_WIDTH = 0.03
"""Of a mark, over the width of the panel."""


def draw_cells(ax: Axes, cells: pd.DataFrame, rows: pd.DataFrame) -> None:
    """Mark each cell at its ``x``, in the row that it belongs to; what meets is stacked.

    Parameters
    ----------
    ax : Axes
        With the scale and limits of its x axis.
    cells : DataFrame
        A row per cell: ``x``, and the ends ``lower`` and ``upper`` of a line through it, NaN where
        there is none; whether it is ``filled``; its ``colour``, its ``marker``, and `ROW_KEYS`.
    rows : DataFrame
        The rows from the top, with `ROW_KEYS`, and whether each is a ``heading``.
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
        sure = row.dropna(subset=["lower", "upper"])
        colour = row["colour"].iat[0]
        if len(sure):
            ends = sure["y"], sure["lower"], sure["upper"]
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
            # Those that are not quite equal stand apart.
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
    """Number the stacks of marks in the order of their ``x``: what meets is in the same one."""
    with np.errstate(divide="ignore"):
        ends = [scale(row[name].fillna(row["x"]).to_numpy()) for name in ("lower", "upper")]
    reach = np.maximum.accumulate(ends[1])
    next_start = np.minimum.accumulate(ends[0][::-1])[::-1]
    return np.cumsum(np.append(False, next_start[1:] - reach[:-1] > near))
