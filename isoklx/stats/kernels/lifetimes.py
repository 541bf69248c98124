"""From a series of measurements per trajectory to when it died or was last seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]


class Fates(NamedTuple):
    """What became of trajectories; each of shape (..., threshold)."""

    end: npt.NDArray[np.int32]
    """Index along time of the death, else of the last observation; -1 without any."""
    died: Bools
    """Whether `end` is a death."""
    recovered: Bools
    """Whether it died and a later observation was on the living side again."""
    censored: Bools
    """Whether it did not die, and ended before the window."""


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
) -> Fates:
    """Find where each trajectory first crosses each threshold, or is last observed.

    Parameters
    ----------
    values : array (..., time), floating
        Measurements; NaN where there is none.
    length : array (...), floating
        Length of each trajectory; NaN where it is not known, and is taken to be what was observed.
    window : array (...), integer
        Length of a trajectory that did not end early.
    times : array (time,), integer
        Labels of the last axis of `values`, ascending.
    offset : int
        The last time at which a trajectory is observed, minus its length.
    thresholds : sequence of float
        Each is compared in the dtype of `values`, so that a recorded 0.95 is not below 0.95.
    dead : callable
        ``numpy.less`` or ``numpy.greater_equal``: whether a value means death.
    ended_alive : bool
        Whether a trajectory that ended before its window without having died counts as seen alive
        at its window, instead of being censored where it ended.

    Returns
    -------
    Fates

    Examples
    --------
    >>> pmass = np.array([[0.9, np.nan, 0.4, 0.8], [0.9, 0.9, np.nan, np.nan]])
    >>> fates = first_crossing(
    ...     pmass,
    ...     np.array([3, 1]),
    ...     np.array(3),
    ...     times=np.arange(4),
    ...     offset=0,
    ...     thresholds=[0.5],
    ...     dead=np.less,
    ... )
    >>> fates.end.T, fates.died.T, fates.censored.T
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
    fates = []
    for threshold in thresholds:
        crossed = observed & dead(values, values.dtype.type(threshold))
        died = crossed.any(axis=-1)
        first = crossed.argmax(axis=-1)
        end = np.where(died, first, followed).astype(np.int32)
        recovered = died & (_last_true(observed & ~crossed) > first)
        censored = ~died & (end >= 0) & ended_early & (not ended_alive)
        fates.append((end, died, recovered, censored))
    return Fates(*(np.stack(each, axis=-1) for each in zip(*fates, strict=True)))


def _last_true(where: Bools) -> npt.NDArray[np.intp]:
    """Index of the last True along the last axis, -1 where there is none."""
    last = where.shape[-1] - 1 - where[..., ::-1].argmax(axis=-1)
    return np.where(where.any(axis=-1), last, -1)
