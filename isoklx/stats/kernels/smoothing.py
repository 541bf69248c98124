"""The centred moving mean of series that may end early."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Rows are smoothed a few at a time: the temporaries stay in cache, and small beside the input.
BATCH = 2**17


def moving_mean(series: NDArray[np.floating[Any]], width: int) -> NDArray[np.floating[Any]]:
    """Centred moving mean along the last axis, of each series over its own length.

    Position i becomes the mean of positions i - width//2 ... i - width//2 + width - 1. What lies
    before the first value counts as the first value and what lies after the last as the last, so
    the length is kept. A series with fewer than ``width`` positions from its first value to its
    last stays as it is.

    Parameters
    ----------
    series : ndarray, shape (..., n), floating
        One series per row. NaN before its first value and after its last is no part of it. NaN in
        between stays NaN, and the positions around it average the values that are left.
    width : int
        Number of positions averaged, at least 1.

    Returns
    -------
    ndarray, shape (..., n), dtype of ``series``
        Sums are taken in float64 and by addition alone; a running sum, which subtracts what leaves
        the window, would carry the rounding of a spike into all that follows it.

    Examples
    --------
    >>> moving_mean(np.array([1.0, 4.0, 7.0, 1.0, np.nan]), 3)
    array([ 2., 4., 4., 3., nan])
    """
    length = series.shape[-1]
    if length < width:
        return series.copy()
    rows = series.reshape(-1, length)
    smoothed = np.empty_like(rows)
    step = max(1, BATCH // length)
    for start in range(0, len(rows), step):
        batch = slice(start, start + step)
        smoothed[batch] = _moving_mean(rows[batch], width)
    return smoothed.reshape(series.shape)


def _moving_mean(rows: NDArray[np.floating[Any]], width: int) -> NDArray[np.floating[Any]]:
    length = rows.shape[-1]
    missing = np.isnan(rows)
    first = missing.argmin(axis=-1, keepdims=True)
    last = length - 1 - missing[:, ::-1].argmin(axis=-1, keepdims=True)
    positions = np.arange(length + width - 1) - width // 2
    padded = np.take_along_axis(rows, np.clip(positions, first, last), axis=-1)
    values = padded.astype(np.float64)
    present = ~np.isnan(values)
    if present.all():
        means = _window_sums(values, width) / width
    else:
        values[~present] = 0.0
        counts = _window_sums(present.astype(np.float64), width)
        means = _window_sums(values, width) / np.maximum(counts, 1.0)
    return np.where(missing | (last - first + 1 < width), rows, means)


def _window_sums(rows: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Sum of each ``width`` neighbours, from sums of 1, 2, 4, ... of them."""
    length = rows.shape[-1] - width + 1
    total = np.zeros((len(rows), length))
    done, span, spans = 0, 1, rows
    while span <= width:
        if width & span:
            total += spans[:, done : done + length]
            done += span
        spans = spans[:, :-span] + spans[:, span:]
        span *= 2
    return total
