"""Kaplan-Meier from counts at a common time axis; time is the last axis throughout."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from isoklx.stats.kernels import beta_product

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[Any]
"""Whole numbers, in an integer or a floating dtype."""

HALF = 0.5 + 1e-9
"""Products of fractions miss 1/2 by rounding; up to this, S counts as having reached it."""


def at_risk(ended: Counts) -> Counts:
    """Count who was observed, undead, at each time or later.

    Parameters
    ----------
    ended : array (..., time)
        How many died, or were seen for the last time, at each time.

    Returns
    -------
    array (..., time)

    Examples
    --------
    >>> at_risk(np.array([1, 0, 2]))
    array([3, 2, 2])
    """
    return np.cumsum(ended[..., ::-1], axis=-1)[..., ::-1]


def kaplan_meier(at_risk: Counts, died: Counts) -> Floats:
    """Estimate survival: the product of ``1 - died / at_risk`` up to each time.

    Parameters
    ----------
    at_risk, died : array (..., time)
        At each time: observed there or later and not dead before; dead there.

    Returns
    -------
    array (..., time), float64
        NaN with none at risk, unless all have died by then: survival stays 0.

    References
    ----------
    Kaplan and Meier (1958), J. Am. Stat. Assoc. 53, 457-481. Undefined beyond the last observation
    if that is censored: Klein and Moeschberger (2003), Survival Analysis, section 4.2.

    Examples
    --------
    >>> kaplan_meier(np.array([4, 3, 1, 0]), np.array([1, 0, 1, 0]))
    array([0.75, 0.75, 0.  , 0.  ])
    >>> kaplan_meier(np.array([4, 3, 0]), np.array([1, 0, 0]))
    array([0.75, 0.75,  nan])
    """
    survival: Floats = np.cumprod(1 - _ratio(died, at_risk), axis=-1, dtype=np.float64)
    survival[(at_risk == 0) & (survival > 0)] = np.nan
    return survival


def carry_forward(curve: Floats) -> Floats:
    """Replace NaN by the last number before it.

    Parameters
    ----------
    curve : array (..., time), floating

    Returns
    -------
    array (..., time), float64
        NaN before the first number.

    Examples
    --------
    >>> carry_forward(np.array([np.nan, 0.75, np.nan]))
    array([ nan, 0.75, 0.75])
    """
    known = np.where(np.isnan(curve), 0, np.arange(curve.shape[-1]))
    filled: Floats = np.take_along_axis(curve, np.maximum.accumulate(known, axis=-1), axis=-1)
    return filled


def observed_to(
    survival: Floats,
    at_risk: Counts,
    complete: Counts,
    last_probe: Counts,
    horizon: Counts,
    *,
    times: Counts,
) -> Counts:
    """Find up to which token a survival curve is known.

    Parameters
    ----------
    survival, at_risk : array (..., time)
        As of `kaplan_meier`.
    complete : array (...)
        Largest window to whose end a trajectory was followed alive; 0 without one.
    last_probe : array (...)
        Last token up to `horizon` at which a trajectory can be observed.
    horizon : array (...)
        Where survival is to be read off.
    times : array (time,)
        Labels of the time axis, ascending, not negative.

    Returns
    -------
    array (...)
        `horizon` if all have died, if `complete` reaches it, or if any is at risk at
        `last_probe`; else the last token with a trajectory at risk, or 0 without one.

    Examples
    --------
    >>> curve = np.array([1, 0.5, np.nan]), np.array([4, 2, 0])
    >>> observed_to(*curve, np.array(0), np.array(48), np.array(48), times=np.array([0, 16, 48]))
    array(16)
    >>> observed_to(*curve, np.array(48), np.array(48), np.array(48), times=np.array([0, 16, 48]))
    array(48)
    """
    last = np.where(at_risk > 0, times, 0).max(axis=-1, initial=0)
    all_died = (survival == 0).any(axis=-1)
    return np.where(all_died | (complete >= horizon) | (last >= last_probe), horizon, last)


def log_log_interval(survival: Floats, at_risk: Counts, died: Counts, level: float) -> Floats:
    """Pointwise interval of survival: Greenwood's variance on the scale of log(-log S).

    Parameters
    ----------
    survival, at_risk, died : array (..., time)
        The estimate and the counts that it was made of.
    level : float
        Confidence, such as 0.95.

    Returns
    -------
    array (..., time, 2), float64
        Lower and upper bound: [1, 1] while nobody died, [0, 0] once all have died, NaN where
        `survival` is.

    References
    ----------
    Kalbfleisch and Prentice (2002), The Statistical Analysis of Failure Time Data, section 1.4.

    Examples
    --------
    >>> counts = np.array([4, 3]), np.array([0, 1])
    >>> log_log_interval(kaplan_meier(*counts), *counts, 0.95).round(3)
    array([[1.   , 1.   ],
           [0.054, 0.945]])
    """
    variance = np.cumsum(_ratio(died, at_risk * (at_risk - died)), axis=-1)
    inside = (survival > 0) & (survival < 1)
    log_survival = np.log(survival, out=np.full_like(survival, -1), where=inside)
    z = NormalDist().inv_cdf((1 + level) / 2)
    spread = z * np.sqrt(variance) / -log_survival
    power = np.exp(np.stack([spread, -spread], axis=-1))
    bounds: Floats = survival[..., np.newaxis] ** np.where(inside[..., np.newaxis], power, 1.0)
    return bounds


def half_life(survival: Floats, at_risk: Counts, times: Counts) -> Floats:
    """Bracket the time at which half are dead; deaths are seen at the given times only.

    Parameters
    ----------
    survival, at_risk : array (..., time)
        As of `kaplan_meier`.
    times : array (time,)
        Labels of the time axis, ascending.

    Returns
    -------
    array (..., 2), float64
        Last time with somebody at risk and S > 0.5, and first time with S <= 0.5, equality up to
        1e-9; NaN where there is none.

    Examples
    --------
    >>> half_life(np.array([0.9, 0.5, 0.2]), np.array([9, 8, 4]), np.array([0, 8, 64]))
    array([0., 8.])
    """
    after = np.where((survival > HALF) & (at_risk > 0), times, -np.inf).max(axis=-1)
    by = np.where(survival <= HALF, times, np.inf).min(axis=-1)
    bracket = np.stack([after, by], axis=-1)
    return np.where(np.isinf(bracket), np.nan, bracket)


def at_horizon(survival: Floats, times: Counts, horizon: Counts) -> Floats:
    """Survival, or a bound of it, at the last time up to a horizon.

    Parameters
    ----------
    survival, times, horizon
        As for `restricted_mean`.

    Returns
    -------
    array (...), float64
        At the first time, where the horizon is before it.

    Examples
    --------
    >>> at_horizon(np.array([1.0, 0.5, 0.0]), np.array([0, 8, 64]), 16)
    array(0.5)
    """
    last = np.searchsorted(times, np.asarray(horizon), side="right") - 1
    place = np.broadcast_to(np.maximum(last, 0), survival.shape[:-1])
    found: Floats = np.take_along_axis(survival, place[..., np.newaxis], axis=-1)[..., 0]
    return found


def restricted_mean(survival: Floats, times: Counts, horizon: Counts) -> Floats:
    """Restricted mean survival time: the area under the step curve from 0 to a horizon.

    Parameters
    ----------
    survival : array (..., time)
        1 before the first time, then constant from each time to the next, and from the last one on.
    times : array (time,)
        Labels of the time axis, ascending, not negative.
    horizon : array (...) or scalar
        Where the area ends.

    Returns
    -------
    array (...), float64
        In the unit of `times`; NaN where `survival` is.

    Examples
    --------
    >>> restricted_mean(np.array([1.0, 0.5]), np.array([0, 10]), 16)
    np.float64(13.0)
    """
    edges = np.minimum([*times, np.inf], np.asarray(horizon)[..., np.newaxis])
    area: Floats = edges[..., 0] + (survival * np.diff(edges, axis=-1)).sum(axis=-1)
    return area


def earliest_survival(at_risk: Counts, died: Counts) -> Floats:
    """Estimate survival as if all had died just after the time before the one that shows it.

    Who was last seen at that time before was still there to die.

    Parameters
    ----------
    at_risk, died : array (..., time)
        As for `kaplan_meier`.

    Returns
    -------
    array (..., time), float64
        What survival is from the time before on; NaN where nobody was at risk from the start.

    Examples
    --------
    >>> earliest_survival(np.array([4, 2]), np.array([0, 1]))
    array([1.  , 0.75])
    """
    before = np.concatenate([at_risk[..., :1], (at_risk - died)[..., :-1]], axis=-1)
    return kaplan_meier(before, died)


def earliest_restricted_mean(survival: Floats, times: Counts, horizon: Counts) -> Floats:
    """Restricted mean survival time if all had died as early as the times allow.

    A death that was first seen at one time happened after the time before, and one that was seen at
    the first time may have happened at 0. `restricted_mean` takes them as late as can be, so that
    the area lies between the two.

    Parameters
    ----------
    survival : array (..., time)
        As of `earliest_survival`.
    times, horizon
        As for `restricted_mean`.

    Returns
    -------
    array (...), float64
        In the unit of `times`; NaN where `survival` is.

    Examples
    --------
    >>> earliest_restricted_mean(np.array([1.0, 0.5]), np.array([0, 10]), 16)
    np.float64(8.0)
    """
    edges = np.minimum([0, *times[:-1], np.inf], np.asarray(horizon)[..., np.newaxis])
    area: Floats = (survival * np.diff(edges, axis=-1)).sum(axis=-1)
    return area


def logrank(at_risk: Counts, died: Counts) -> tuple[Floats, Floats]:
    """Log-rank test of two groups.

    Parameters
    ----------
    at_risk, died : array (..., 2, time)
        Counts of the two groups at the same times.

    Returns
    -------
    statistic : array (...), float64
        Signed square root of the chi-squared statistic: positive where the first group dies sooner;
        NaN where the deaths tell nothing, as when there are none.
    p_value : array (...), float64
        Two-sided, from the normal distribution; NaN where the statistic is.

    References
    ----------
    Mantel (1966), Cancer Chemotherapy Reports 50, 163-170.

    Examples
    --------
    >>> statistic, p_value = logrank(np.array([[3, 1], [3, 3]]), np.array([[2, 1], [0, 1]]))
    >>> float(statistic.round(3)), float(p_value.round(3))
    (1.861, 0.063)
    """
    all_at_risk, all_died = at_risk.sum(axis=-2), died.sum(axis=-2)
    first = at_risk[..., 0, :]
    expected = _ratio(all_died * first, all_at_risk)
    variance = _ratio(
        expected * (all_at_risk - all_died) * (all_at_risk - first),
        all_at_risk * (all_at_risk - 1),
    ).sum(axis=-1)
    excess = (died[..., 0, :] - expected).sum(axis=-1)
    known = variance > 0
    statistic = np.where(known, excess / np.sqrt(np.where(known, variance, 1.0)), np.nan)
    tail = [math.erfc(abs(z) / math.sqrt(2)) for z in statistic.flat]
    return statistic, np.reshape(tail, statistic.shape)


def _ratio(above: Counts, below: Counts) -> Floats:
    """``above / below``, 0 where ``below`` is."""
    shape = np.broadcast_shapes(np.shape(above), np.shape(below))
    return np.divide(above, below, out=np.zeros(shape), where=below != 0)


Interval = Literal["auto", "beta", "prompts", "greenwood"]
INTERVALS = get_args(Interval)


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
