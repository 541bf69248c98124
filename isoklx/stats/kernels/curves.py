"""Survival curves from counts, each with the interval that was asked for."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from isoklx.stats.kernels import beta_product
from isoklx.stats.kernels.kaplan_meier import at_risk, kaplan_meier, log_log_interval

Interval = Literal["auto", "beta", "prompts", "greenwood"]
INTERVALS = get_args(Interval)

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[Any]


def curves(
    ended: Counts, died: Counts, sharing: Counts, *, interval: Interval, level: float
) -> tuple[Counts, Floats, Floats]:
    """Estimate survival and its interval from when trajectories ended.

    Parameters
    ----------
    ended : array (..., time)
        How many died, or were seen for the last time, at each time.
    died : array (..., time)
        How many of them died.
    sharing : array (..., time)
        How many ended, each counted as often as its unit has trajectories.
    interval : {"auto", "beta", "prompts", "greenwood"}
        The beta product of the trajectories (beta) or of what they are worth (prompts), which is
        the same where each unit has one: auto is the latter. Or Greenwood's.
    level : float
        Confidence of the interval, such as 0.95.

    Returns
    -------
    at_risk : array (..., time)
        As of `at_risk`.
    survival : array (..., time), float64
        As of `kaplan_meier`.
    interval : array (..., time, 2), float64
        As of `beta_product.interval` or `log_log_interval`.

    Examples
    --------
    >>> ended = np.array([1, 0, 2])
    >>> curves(ended, np.array([1, 0, 0]), ended, interval="auto", level=0.95)[1].round(3)
    array([0.667, 0.667, 0.667])
    """
    remaining = at_risk(ended)
    survival = kaplan_meier(remaining, died)
    if interval == "greenwood":
        return remaining, survival, log_log_interval(survival, remaining, died, level)
    counts: tuple[Counts, Counts] = remaining, died
    if interval != "beta":
        counts = beta_product.effective_counts(remaining, died, at_risk(sharing))
    return remaining, survival, beta_product.interval(*counts, level=level)
