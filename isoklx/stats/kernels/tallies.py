"""Event times of trajectories, and their counts by group and time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]


class EventTimes(NamedTuple):
    """Event and censoring times of each trajectory, arrays (..., threshold)."""

    end: npt.NDArray[np.int32]
    """Index along time of the death, else of the last observation; -1 without one."""
    died: Bools
    """True if `end` is a death."""
    recovered: Bools
    """True if a later observation after the death was alive again."""
    censored: Bools
    """True if the trajectory ended before the window without dying."""


def first_crossing(
    values: npt.NDArray[np.floating[Any]],
    length: npt.NDArray[np.floating[Any]],
    window: npt.NDArray[np.integer[Any]],
    *,
    times: npt.NDArray[np.integer[Any]],
    offset: int,
    thresholds: Sequence[float],
    dead: Callable[..., Any],
    ended_alive: bool = False,
) -> EventTimes:
    """Find where each trajectory first crosses each threshold, or is last observed.

    Parameters
    ----------
    values : array (..., time), floating
        Measurements; NaN marks missing ones.
    length : array (...), floating
        Length of each trajectory; NaN if unknown, then the observed length is used.
    window : array (...), integer
        Length of a trajectory that did not end early.
    times : array (time,), integer
        Labels of the last axis of `values`, ascending.
    offset : int
        Last time at which a trajectory is observed, minus its length.
    thresholds : sequence of float
        Compared in the dtype of `values`, so that a recorded 0.95 is not below 0.95.
    dead : callable
        Comparison with the threshold that means death: ``numpy.less`` or ``numpy.greater_equal``.
    ended_alive : bool
        Count a trajectory that ended early without dying as surviving to its window, instead of
        censoring it at its end.

    Examples
    --------
    >>> pmass = np.array([[0.9, np.nan, 0.4, 0.8], [0.9, 0.9, np.nan, np.nan]])
    >>> events = first_crossing(
    ...     pmass,
    ...     np.array([3, 1]),
    ...     np.array(3),
    ...     times=np.arange(4),
    ...     offset=0,
    ...     thresholds=[0.5],
    ...     dead=np.less,
    ... )
    >>> events.end.T, events.died.T, events.censored.T
    (array([[2, 1]], dtype=int32), array([[ True, False]]), array([[False, True]]))
    """
    last_time = np.where(np.isnan(length), np.inf, length + offset)
    observed = ~np.isnan(values) & (times <= last_time[..., np.newaxis])
    last = _last_true(observed)
    ended_early = np.where(np.isnan(length), times[last], last_time) < window + offset
    followed = last
    if ended_alive:
        at_window = np.searchsorted(times, window + offset, side="right") - 1
        followed = np.where((last >= 0) & ended_early, np.maximum(last, at_window), last)
    events = []
    for threshold in thresholds:
        crossed = observed & dead(values, values.dtype.type(threshold))
        died = crossed.any(axis=-1)
        first = crossed.argmax(axis=-1)
        end = np.where(died, first, followed).astype(np.int32)
        recovered = died & (_last_true(observed & ~crossed) > first)
        censored = ~died & (end >= 0) & ended_early & (not ended_alive)
        events.append((end, died, recovered, censored))
    return EventTimes(*(np.stack(each, axis=-1) for each in zip(*events, strict=True)))


def _last_true(where: Bools) -> npt.NDArray[np.intp]:
    """Return the index of the last True along the last axis, -1 if there is none."""
    last = where.shape[-1] - 1 - where[..., ::-1].argmax(axis=-1)
    return np.where(where.any(axis=-1), last, -1)


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
        Index along time of the event of each trajectory; a unit is a trajectory of a cell.
    counted : array (..., cell, unit), bool
        Mask of the trajectories to count; `index` is ignored elsewhere.
    group : array (cell,), integer
        Flat index of each cell into `groups`.
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
    """Count as `tally`, weighting each trajectory by the number of trajectories of its unit.

    Trajectories of a group at the same index of the last axis belong to one unit.

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
    # Sums of whole numbers are exact in float64.
    sums = np.bincount(places[counted], weights=weights, minlength=size)
    return sums.astype(np.int64).reshape(*leading, *shape)


def count_units(
    counted: npt.NDArray[np.bool_],
    group: npt.NDArray[np.integer[Any]],
    *,
    groups: tuple[int, ...],
) -> npt.NDArray[np.int64]:
    """Count the trajectories of each unit, by group (..., *groups, unit).

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
    """Return the largest nonnegative value of the counted cells of each group, 0 if there are none.

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
    """Return flat indices into an array (..., group, length)."""
    leading = index.shape[:-2]
    rows = np.arange(math.prod(leading)).reshape(*leading, 1, 1)
    places: npt.NDArray[np.int64] = (rows * n_groups + group[:, np.newaxis]) * length + index
    return places
