"""Kaplan-Meier estimates from counts on a common time axis, which is the last axis."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from isoklx.stats.kernels import beta_product

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[Any]
"""Whole numbers in an integer or floating dtype."""

HALF = 0.5 + 1e-9
"""Largest S that counts as 1/2: products of fractions are subject to rounding."""


def at_risk(ended: Counts) -> Counts:
    """Return the number at risk at each time, from the number that died or were last observed.

    Examples
    --------
    >>> at_risk(np.array([1, 0, 2]))
    array([3, 2, 2])
    """
    return np.cumsum(ended[..., ::-1], axis=-1)[..., ::-1]


def kaplan_meier(at_risk: Counts, died: Counts) -> Floats:
    """Estimate survival: the product of ``1 - died / at_risk`` up to each time.

    With no trajectory at risk it is NaN or, if all have died, 0.

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
    """Replace NaN with the last number before it; leading NaN stays.

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
    """Return the token up to which a survival curve is known.

    It is `horizon` if all have died, if `complete` reaches it, or if a trajectory is at risk at
    `last_probe`; else the last token with a trajectory at risk, or 0.

    Parameters
    ----------
    survival, at_risk : array (..., time)
        Estimate and counts of `kaplan_meier`.
    complete : array (...)
        Largest window to whose end a trajectory survived; 0 if none did.
    last_probe : array (...)
        Last token up to `horizon` at which a trajectory can be observed.
    horizon : array (...)
        Token at which survival is read.
    times : array (time,)
        Labels of the time axis, ascending, not negative.

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
    """Return the pointwise interval (..., time, 2) by Greenwood's variance of log(-log S).

    It is [1, 1] before the first death, [0, 0] once all have died, and NaN where `survival` is NaN.

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
    """Bracket the median lifetime (..., 2); deaths are observed at the given times only.

    The bracket is the last time with a trajectory at risk and S > 0.5, and the first time with
    S <= 0.5 (equality up to 1e-9); NaN if there is none.

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
    """Return survival, or a bound of it, at the last time up to a horizon (or the first time).

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
    """Return the restricted mean survival time: the area under the curve from 0 to a horizon.

    Parameters
    ----------
    survival : array (..., time)
        Step function: 1 before the first time, then constant from each time to the next.
    times : array (time,)
        Labels of the time axis, ascending, not negative.
    horizon : array (...) or scalar
        End of the area.

    Returns
    -------
    array (...), float64
        In the unit of `times`; NaN where `survival` is NaN.

    References
    ----------
    Royston and Parmar (2013), BMC Medical Research Methodology 13, 152.

    Examples
    --------
    >>> restricted_mean(np.array([1.0, 0.5]), np.array([0, 10]), 16)
    np.float64(13.0)
    """
    edges = np.minimum([*times, np.inf], np.asarray(horizon)[..., np.newaxis])
    area: Floats = edges[..., 0] + (survival * np.diff(edges, axis=-1)).sum(axis=-1)
    return area


def earliest_survival(at_risk: Counts, died: Counts) -> Floats:
    """Estimate survival if each death happened right after the previous time.

    Trajectories last observed at the previous time were still at risk then. The values hold from
    the previous time on; NaN if no trajectory was ever at risk.

    Examples
    --------
    >>> earliest_survival(np.array([4, 2]), np.array([0, 1]))
    array([1.  , 0.75])
    """
    before = np.concatenate([at_risk[..., :1], (at_risk - died)[..., :-1]], axis=-1)
    return kaplan_meier(before, died)


def earliest_restricted_mean(survival: Floats, times: Counts, horizon: Counts) -> Floats:
    """Return the restricted mean of `earliest_survival`.

    A death observed at a time happened after the previous time (or after 0). `restricted_mean`
    places deaths as late as possible, so the true area lies between the two.

    Examples
    --------
    >>> earliest_restricted_mean(np.array([1.0, 0.5]), np.array([0, 10]), 16)
    np.float64(8.0)
    """
    edges = np.minimum([0, *times[:-1], np.inf], np.asarray(horizon)[..., np.newaxis])
    area: Floats = (survival * np.diff(edges, axis=-1)).sum(axis=-1)
    return area


def logrank(at_risk: Counts, died: Counts) -> tuple[Floats, Floats]:
    """Return statistic and two-sided p value of the log-rank test of two groups.

    Parameters
    ----------
    at_risk, died : array (..., 2, time)
        Counts of the two groups at the same times.

    Returns
    -------
    statistic, p_value : array (...), float64
        Signed square root of the chi-squared statistic, positive if the first group dies sooner,
        and its p value from the normal distribution. NaN if the variance is 0, as without deaths.

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
    """Return ``above / below``, 0 where ``below`` is 0."""
    shape = np.broadcast_shapes(np.shape(above), np.shape(below))
    return np.divide(above, below, out=np.zeros(shape), where=below != 0)


Interval = Literal["auto", "beta", "prompts", "greenwood"]
INTERVALS = get_args(Interval)


def curves(
    ended: Counts, died: Counts, sharing: Counts, *, interval: Interval, level: float
) -> tuple[Counts, Floats, Floats]:
    """Return numbers at risk, survival and its interval from when trajectories ended.

    Parameters
    ----------
    ended, died : array (..., time)
        Trajectories that died or were last observed at each time, and that died.
    sharing : array (..., time)
        Like `ended`, each trajectory weighted by the number of trajectories of its unit.
    interval : {"auto", "beta", "prompts", "greenwood"}
        Beta product of all trajectories ("beta") or of their effective number ("prompts"); the two
        agree if each unit has one trajectory. "auto" is "prompts".
    level : float
        Confidence of the interval, such as 0.95.

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
