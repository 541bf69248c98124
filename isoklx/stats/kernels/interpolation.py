"""Lines through the values that a series has, out to where it ends."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def interpolate(
    values: NDArray[np.floating[Any]],
    lengths: NDArray[np.number[Any]],
    knots: NDArray[np.number[Any]],
    positions: NDArray[np.number[Any]],
) -> NDArray[np.floating[Any]]:
    """Piecewise linear interpolation between each series' own finite values.

    The first finite value is held before it and the last one after it. A knot at which a series
    has no finite value has no influence on it, to the last bit.

    Parameters
    ----------
    values : ndarray, shape (..., k), floating
        One series per row; NaN where it was not measured.
    lengths : ndarray, shape (...)
        Where each series ends; NaN where there is none.
    knots : ndarray, shape (k,)
        Positions of the values, in any order, none of them twice.
    positions : ndarray, shape (n,)
        Where the result is wanted.

    Returns
    -------
    ndarray, shape (..., n), dtype of ``values``
        Computed in float64. NaN from a series' length on, and throughout one without any value.

    Examples
    --------
    >>> values = np.array([1.0, np.nan, 0.0])
    >>> interpolate(values, np.array(6), np.array([0, 1, 4]), np.arange(8))
    array([1. , 0.75, 0.5 , 0.25, 0. , 0. , nan, nan])
    """
    order = np.argsort(knots)
    ordered = knots[order].astype(np.float64)
    left, right = _own_neighbours(np.isfinite(values)[..., order])
    # A last knot, without a value, stands for the neighbours of a series that has none.
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
    """Stretches of one label: neighbouring positions lie in one gap, of which there are few."""
    edges = np.flatnonzero(np.diff(labels)) + 1
    starts = [0, *edges.tolist()] if labels.size else []
    return [
        (int(labels[start]), slice(start, stop))
        for start, stop in zip(starts, [*edges.tolist(), labels.size], strict=False)
    ]


def _own_neighbours(finite: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Index of the nearest finite knot on either side of each gap between knots.

    Gap j lies before knot j, and one more gap behind all knots. A gap with finite knots on one
    side only gets the same one twice; where no knot is finite, both point past the last.
    """
    knots = np.arange(finite.shape[-1])
    left = np.full((*finite.shape[:-1], len(knots) + 1), -1)
    right = np.full_like(left, len(knots))
    left[..., 1:] = np.maximum.accumulate(np.where(finite, knots, -1), axis=-1)
    right[..., -2::-1] = np.minimum.accumulate(
        np.where(finite, knots, len(knots))[..., ::-1], axis=-1
    )
    return np.where(left < 0, right, left), np.where(right == len(knots), left, right)
