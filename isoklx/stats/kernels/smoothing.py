"""Centred moving mean and interpolation of series of different lengths."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Edges = Literal["shrink", "repeat"]
EDGES = get_args(Edges)

# Values smoothed at a time: temporaries stay in cache and small beside the input.
BATCH = 2**17


def moving_mean(
    series: NDArray[np.floating[Any]], width: int, edges: Edges = "shrink"
) -> NDArray[np.floating[Any]]:
    """Return the centred moving mean along the last axis, of each series over its own length.

    Position i becomes the mean of positions i - width//2 to i - width//2 + width - 1, as far as
    they lie between the first and the last value.

    Parameters
    ----------
    series : ndarray, shape (..., n), floating
        One series per row. Leading and trailing NaN lie outside the series. NaN in between stays
        NaN, and the means around it skip it.
    width : int
        Number of positions averaged, at least 1.
    edges : {"shrink", "repeat"}
        ``"repeat"`` pads with the first and the last value, and leaves series shorter than
        ``width`` unchanged. At width 65 the first value then has a weight of 33/65.

    Returns
    -------
    ndarray, shape (..., n), dtype of ``series``
        Sums are taken in float64, by addition only: a running sum, which subtracts, would carry the
        rounding error of a spike to all later values.

    Examples
    --------
    >>> series = np.array([1.0, 4.0, 7.0, 1.0, np.nan])
    >>> moving_mean(series, 3)
    array([2.5, 4. , 4. , 4. , nan])
    >>> moving_mean(series, 3, edges="repeat")
    array([ 2., 4., 4., 3., nan])
    """
    length = series.shape[-1]
    if not series.size or (edges == "repeat" and length < width):
        return series.copy()
    rows = series.reshape(-1, length)
    smoothed = np.empty_like(rows)
    smooth = _shrinking if edges == "shrink" else _repeating
    # Wider windows change nothing.
    width = width if edges == "repeat" else min(width, 2 * length + 1)
    step = max(1, BATCH // length)
    for start in range(0, len(rows), step):
        batch = slice(start, start + step)
        smoothed[batch] = smooth(rows[batch], width)
    return smoothed.reshape(series.shape)


def _shrinking(rows: NDArray[np.floating[Any]], width: int) -> NDArray[np.floating[Any]]:
    before = width // 2
    padded = np.full((len(rows), rows.shape[-1] + width - 1), np.nan)
    padded[:, before : before + rows.shape[-1]] = rows
    return np.where(np.isnan(rows), rows, _means(padded, width))


def _repeating(rows: NDArray[np.floating[Any]], width: int) -> NDArray[np.floating[Any]]:
    length = rows.shape[-1]
    missing = np.isnan(rows)
    first = missing.argmin(axis=-1, keepdims=True)
    last = length - 1 - missing[:, ::-1].argmin(axis=-1, keepdims=True)
    positions = np.arange(length + width - 1) - width // 2
    padded = np.take_along_axis(rows, np.clip(positions, first, last), axis=-1)
    means = _means(padded.astype(np.float64), width)
    return np.where(missing | (last - first + 1 < width), rows, means)


def _means(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Return the mean of each ``width`` neighbours, without NaN."""
    present = ~np.isnan(values)
    if present.all():
        return _window_sums(values, width) / width
    values[~present] = 0.0
    counts = _window_sums(present.astype(np.float64), width)
    return _window_sums(values, width) / np.maximum(counts, 1.0)


def _window_sums(rows: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Return the sum of each ``width`` neighbours, from sums of 1, 2, 4, ... of them."""
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


def interpolate(
    values: NDArray[np.floating[Any]],
    lengths: NDArray[np.number[Any]],
    knots: NDArray[np.number[Any]],
    positions: NDArray[np.number[Any]],
) -> NDArray[np.floating[Any]]:
    """Interpolate linearly between the finite values of each series.

    The first and the last finite value extend outwards. A knot without a finite value has no
    influence, to the last bit.

    Parameters
    ----------
    values : ndarray, shape (..., k), floating
        One series per row; NaN marks missing values.
    lengths : ndarray, shape (...)
        Length of each series; NaN if there is none.
    knots : ndarray, shape (k,)
        Distinct positions of the values, in any order.
    positions : ndarray, shape (n,)
        Positions of the result.

    Returns
    -------
    ndarray, shape (..., n), dtype of ``values``
        Computed in float64. NaN from the length of a series on, and for a series without values.

    Examples
    --------
    >>> values = np.array([1.0, np.nan, 0.0])
    >>> interpolate(values, np.array(6), np.array([0, 1, 4]), np.arange(8))
    array([1. , 0.75, 0.5 , 0.25, 0. , 0. , nan, nan])
    """
    order = np.argsort(knots)
    ordered = knots[order].astype(np.float64)
    left, right = _own_neighbours(np.isfinite(values)[..., order])
    # An extra knot without a value serves series that have no finite value.
    padded = np.full((*values.shape[:-1], len(knots) + 1), np.nan)
    padded[..., :-1] = values[..., order]
    place = np.append(ordered, 0.0)
    start, origin = np.take_along_axis(padded, left, axis=-1), place[left]
    step, span = np.take_along_axis(padded, right, axis=-1) - start, place[right] - origin
    slope = step / np.where(span > 0, span, 1.0)

    line = np.empty((*values.shape[:-1], len(positions)), values.dtype)
    gap = np.searchsorted(ordered, positions, side="right")
    for j, where in _runs(gap):
        along = positions[where] - origin[..., j, np.newaxis]
        along *= slope[..., j, np.newaxis]
        along += start[..., j, np.newaxis]
        line[..., where] = along
    np.copyto(line, np.nan, where=~(positions < lengths[..., np.newaxis]))
    return line


def _runs(labels: NDArray[np.intp]) -> list[tuple[int, slice]]:
    """Return stretches of equal labels: few, since neighbouring positions share a gap."""
    edges = np.flatnonzero(np.diff(labels)) + 1
    starts = [0, *edges.tolist()] if labels.size else []
    return [
        (int(labels[start]), slice(start, stop))
        for start, stop in zip(starts, [*edges.tolist(), labels.size], strict=False)
    ]


def _own_neighbours(finite: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the indices of the nearest finite knots on both sides of each gap.

    Gap j lies before knot j; the last gap lies behind all knots. If only one side has finite knots,
    both indices are the same; without any, both point past the last knot.
    """
    knots = np.arange(finite.shape[-1])
    left = np.full((*finite.shape[:-1], len(knots) + 1), -1)
    right = np.full_like(left, len(knots))
    left[..., 1:] = np.maximum.accumulate(np.where(finite, knots, -1), axis=-1)
    right[..., -2::-1] = np.minimum.accumulate(
        np.where(finite, knots, len(knots))[..., ::-1], axis=-1
    )
    return np.where(left < 0, right, left), np.where(right == len(knots), left, right)
