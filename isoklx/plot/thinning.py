"""As many points of a line as the eye can tell apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

COLUMNS = 500
"""A panel's width in pixels, or more."""

PICKED = 3
"""Positions kept in a column: lowest, highest, and a gap."""


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
        gained: up to ``3 * columns`` positions.

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
    if not there.all():
        picks.append(np.where(gap.any(axis=-1), gap.argmax(axis=-1), picks[0]))
    starts = np.arange(n_runs) * width
    ends = [there.argmax(axis=1), length - 1 - there[:, ::-1].argmax(axis=1)]
    kept = np.concatenate(
        [starts + pick for pick in picks] + [end[:, None] for end in ends], axis=1
    )
    kept.sort(axis=1)
    within: npt.NDArray[np.intp] = np.minimum(kept, length - 1)
    return within
