"""As many points of a line as the eye can tell apart."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

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
