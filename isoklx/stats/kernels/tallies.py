"""Counts of trajectories at each place of a common time axis, which is the last axis throughout."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt


def tally(
    index: npt.NDArray[np.integer[Any]],
    counted: npt.NDArray[np.bool_],
    group: npt.NDArray[np.integer[Any]],
    *,
    groups: tuple[int, ...],
    n_times: int,
) -> npt.NDArray[np.int64]:
    """Count trajectories by group and time.

    Parameters
    ----------
    index : array (..., cell, unit), integer
        Index along time of each trajectory's event; units are the trajectories of a cell.
    counted : array (..., cell, unit), bool
        Which trajectories count; `index` is not looked at elsewhere.
    group : array (cell,), integer
        Flat index into `groups` of each cell.
    groups : tuple of int
        Shape of the group axes; empty for one group without an axis.
    n_times : int
        Length of the time axis.

    Returns
    -------
    array (..., *groups, time), int64

    Examples
    --------
    >>> index = np.array([[0, 2], [2, 2]])
    >>> tally(index, index > 0, np.array([0, 1]), groups=(2,), n_times=3)
    array([[0, 0, 1],
           [0, 0, 2]])
    """
    leading, shape = index.shape[:-2], (*groups, n_times)
    places = _places(index, group, math.prod(groups), n_times)
    size = math.prod((*leading, *shape))
    return np.bincount(places[counted], minlength=size).reshape(*leading, *shape)


def tally_sharing(
    index: npt.NDArray[np.integer[Any]],
    counted: npt.NDArray[np.bool_],
    group: npt.NDArray[np.integer[Any]],
    *,
    groups: tuple[int, ...],
    n_times: int,
) -> npt.NDArray[np.int64]:
    """Count trajectories as `tally` does, each as often as its unit has trajectories.

    Parameters
    ----------
    index, counted, group, groups, n_times
        As for `tally`. Those of a group that are at the same place along the last axis are of one
        unit.

    Returns
    -------
    array (..., *groups, time), int64

    Examples
    --------
    >>> index = np.array([[0, 2], [2, 2]])
    >>> tally_sharing(index, index >= 0, np.array([0, 0]), groups=(), n_times=3)
    array([2, 0, 6])
    """
    sharing = count_units(counted, group, groups=groups)
    flat = sharing.reshape(*counted.shape[:-2], math.prod(groups), -1)
    weights = np.take(flat, group, axis=-2)[counted]
    leading, shape = index.shape[:-2], (*groups, n_times)
    places = _places(index, group, math.prod(groups), n_times)
    size = math.prod((*leading, *shape))
    # Whole numbers are exact in floating point.
    sums = np.bincount(places[counted], weights=weights, minlength=size)
    return sums.astype(np.int64).reshape(*leading, *shape)


def count_units(
    counted: npt.NDArray[np.bool_],
    group: npt.NDArray[np.integer[Any]],
    *,
    groups: tuple[int, ...],
) -> npt.NDArray[np.int64]:
    """Count the trajectories of each unit, by group.

    Parameters
    ----------
    counted, group, groups
        As for `tally_sharing`.

    Returns
    -------
    array (..., *groups, unit), int64

    Examples
    --------
    >>> counted = np.array([[True, True], [True, False]])
    >>> count_units(counted, np.array([0, 0]), groups=())
    array([2, 1])
    """
    leading, n_units = counted.shape[:-2], counted.shape[-1]
    units = np.broadcast_to(np.arange(n_units), counted.shape)
    places = _places(units, group, math.prod(groups), n_units)
    size = math.prod((*leading, *groups, n_units))
    return np.bincount(places[counted], minlength=size).reshape(*leading, *groups, n_units)


def largest(
    values: npt.NDArray[np.int32],
    counted: npt.NDArray[np.bool_],
    group: npt.NDArray[np.integer[Any]],
    *,
    groups: tuple[int, ...],
) -> npt.NDArray[np.int32]:
    """Find the largest value of each group's cells.

    Parameters
    ----------
    values : array (cell,), int32
        Not negative.
    counted : array (..., cell), bool
        Which cells count.
    group, groups
        As for `tally`.

    Returns
    -------
    array (..., *groups), int32
        0 where no cell of a group counts.

    Examples
    --------
    >>> counted = np.array([[True, True, True], [True, False, False]])
    >>> largest(np.array([16, 64, 32]), counted, np.array([0, 0, 1]), groups=(2,))
    array([[64, 32],
           [16,  0]], dtype=int32)
    """
    leading = counted.shape[:-1]
    found = np.zeros((math.prod(groups), *leading), dtype=np.int32)
    np.maximum.at(found, group, np.moveaxis(np.where(counted, values, 0), -1, 0))
    return np.moveaxis(found, 0, -1).reshape(*leading, *groups)


def _places(
    index: npt.NDArray[np.integer[Any]],
    group: npt.NDArray[np.integer[Any]],
    n_groups: int,
    length: int,
) -> npt.NDArray[np.int64]:
    """Flat index in an array (..., group, length)."""
    leading = index.shape[:-2]
    rows = np.arange(math.prod(leading)).reshape(*leading, 1, 1)
    places: npt.NDArray[np.int64] = (rows * n_groups + group[:, np.newaxis]) * length + index
    return places
