"""Cluster bootstrap of survival: whole units are drawn again, with all their trajectories."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from isoklx.stats.kernels.kaplan_meier import at_risk, kaplan_meier, restricted_mean

Floats = npt.NDArray[np.float64]

BLOCK = 2**22
"""Numbers that one block of replicates may hold; keeps memory bounded whatever the sweep."""


def draw_units(n_units: int, replicates: int, seed: int) -> npt.NDArray[np.int64]:
    """Draw how often each unit occurs in each replicate.

    Parameters
    ----------
    n_units : int
        Number of units; as many are drawn for each replicate, with replacement.
    replicates : int
        Number of replicates.
    seed : int
        Seed of the draws.

    Returns
    -------
    array (replicates, n_units), int64

    Examples
    --------
    >>> draw_units(5, 3, seed=0).sum(axis=1)
    array([5, 5, 5])
    """
    rng = np.random.default_rng(seed)
    return rng.multinomial(n_units, np.full(n_units, 1 / n_units), size=replicates)


def replicate_survival(
    draws: npt.NDArray[np.integer[Any]],
    ended: npt.NDArray[np.integer[Any]],
    died: npt.NDArray[np.integer[Any]],
    *,
    times: npt.NDArray[np.integer[Any]],
    horizon: float,
) -> tuple[Floats, Floats]:
    """Survival at a horizon, and the restricted mean up to it, of every replicate.

    Parameters
    ----------
    draws : array (replicate, unit), integer
        As of `draw_units`; a row of ones is the sample itself.
    ended, died : array (unit, group, time), integer
        How many of each unit's trajectories ended, and how many of them died, at each time.
    times : array (time,), integer
        Labels of the time axis, ascending.
    horizon : float
        In the unit of `times`.

    Returns
    -------
    end_survival, mean : array (replicate, group), float64
        NaN where a replicate drew no unit that has a trajectory of the group.

    Examples
    --------
    >>> ended = np.array([[[1, 0]], [[0, 1]]])
    >>> end_survival, mean = replicate_survival(
    ...     np.array([[1, 1], [2, 0]]), ended, ended, times=np.array([0, 8]), horizon=16
    ... )
    >>> end_survival.T, mean.T
    (array([[0., 0.]]), array([[4., 0.]]))
    """
    last = max(int(np.searchsorted(times, horizon, side="right")) - 1, 0)
    # Matrix products are fast in floating point only, and exact there for counts.
    tables = [counts.reshape(len(counts), -1).astype(float) for counts in (ended, died)]
    rows = max(1, BLOCK // max(tables[0].shape[1], 1))
    end_survival, mean = [], []
    for start in range(0, len(draws), rows):
        weights = draws[start : start + rows].astype(float)
        drawn = [(weights @ table).reshape(-1, *ended.shape[1:]) for table in tables]
        survival = kaplan_meier(at_risk(drawn[0]), drawn[1])
        end_survival.append(survival[..., last])
        mean.append(restricted_mean(survival, times, np.asarray(horizon)))
    return np.concatenate(end_survival), np.concatenate(mean)
