"""The beta product confidence procedure: an interval of survival that few trajectories can bear.

Greenwood's variance is 0 while nobody died, however few were watched. This interval widens with
what was not seen: of 24 trajectories that are all alive it says [0.858, 1], and where nothing is
censored it is that of Clopper and Pearson.

References
----------
Fay, Brittain and Proschan (2013), Pointwise confidence intervals for a survival distribution with
small samples or heavy censoring, Biostatistics 14, 723-736; by the method of moments.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[Any]
"""Numbers of trajectories, in an integer or a floating dtype: effective ones are not whole."""


def interval(at_risk: Counts, died: Counts, *, level: float) -> Floats:
    """Pointwise interval of survival after the deaths at each time.

    Upper is the quantile of the product, over the times so far, of Beta(r - d + 1, d), and lower
    that of the same product times Beta(r - d, 1) of the last time, with r at risk and d died. The
    product is taken to be the beta distribution with its mean and variance.

    Parameters
    ----------
    at_risk, died : array (..., time)
        At each time: observed there or later and not dead before; dead there. As of
        `effective_counts` where trajectories depend on each other.
    level : float
        Confidence, such as 0.95; half of the rest is left on either side.

    Returns
    -------
    array (..., time, 2), float64
        Lower and upper bound. With none at risk both are NaN, unless all have died by then:
        they stay where the last death left them, the lower one at 0.

    Examples
    --------
    >>> interval(np.array([24, 24]), np.array([0, 12]), level=0.95).round(3)
    array([[0.858, 1.   ],
           [0.291, 0.709]])
    """
    at_risk, died = np.asarray(at_risk, dtype=float), np.asarray(died, dtype=float)
    alive = at_risk - died
    so_far = _factor(alive + 1, np.where(at_risk > 0, died, 0.0)).cumulated()
    last = _factor(np.where(alive > 0, alive, 1.0), np.ones_like(alive))
    tail = (1 - level) / 2
    lower = np.where(alive > 0, _quantile(so_far.times(last), tail), 0.0)
    bounds = np.stack([lower, _quantile(so_far, 1 - tail)], axis=-1)
    all_died = np.logical_or.accumulate((at_risk > 0) & (alive <= 0), axis=-1)
    bounds[(at_risk == 0) & ~all_died] = np.nan
    return bounds


def effective_counts(at_risk: Counts, died: Counts, shared: Counts) -> tuple[Floats, Floats]:
    """Count, of trajectories that depend on each other, how many independent ones they are worth.

    Trajectories of one prompt may depend on each other in any way, those of different prompts do
    not. A prompt's trajectories, m of them, add at most m times the variance that they would have
    if they were independent (Cauchy and Schwarz), which they do if they are copies of one. With
    that variance, r trajectories at risk are worth ``r**2 / shared``. Where every prompt has m
    trajectories that is r / m: each prompt counts once. Where each has one, it is r.

    Parameters
    ----------
    at_risk, died : array (..., time)
        Trajectories.
    shared : array (..., time)
        Sum, over those at risk, of how many trajectories their prompt has, itself included.

    Returns
    -------
    at_risk, died : array (..., time), float64
        For `interval`. Their ratio is that of the trajectories.

    References
    ----------
    Kish (1965), Survey Sampling, section 8.2, for the effect of a design on a variance; Korn and
    Graubard (1998), Survey Methodology 24, 193-201, for exact intervals of an effective size.

    Examples
    --------
    >>> at_risk, died = np.array([24, 21]), np.array([3, 0])
    >>> effective_counts(at_risk, died, 3 * at_risk)
    (array([8., 7.]), array([1., 0.]))
    """
    worth = np.divide(at_risk, shared, out=np.zeros(np.shape(shared)), where=shared > 0)
    return at_risk * worth, died * worth


def bound_while_nobody_dies(n: Counts, *, confidence: float) -> Floats:
    """Lower one-sided bound of survival where all of n are alive: ``(1 - confidence)**(1 / n)``.

    Parameters
    ----------
    n : array or scalar
        Independent trajectories, at least 1.
    confidence : float
        Such as 0.95.

    Returns
    -------
    array, float64

    Examples
    --------
    >>> bound_while_nobody_dies(np.array([8, 29]), confidence=0.95).round(3)
    array([0.688, 0.902])
    """
    bound: Floats = (1 - confidence) ** (1 / np.asarray(n, dtype=float))
    return bound


def number_at_bound(bound: float, *, confidence: float) -> float:
    """Count the independent trajectories, all alive, that have a bound: not a whole number.

    Examples
    --------
    >>> round(number_at_bound(0.05 ** (1 / 19), confidence=0.95), 6)
    19.0
    """
    return math.log(1 - confidence) / math.log(bound) if bound < 1 else math.inf


def number_to_claim(survive: float, *, confidence: float) -> int:
    """Count how many trajectories, all alive, put the bound at what is to be claimed.

    Parameters
    ----------
    survive : float
        Survival to be claimed, above 0 and below 1.
    confidence : float
        Such as 0.95.

    Returns
    -------
    int
        The smallest n whose `bound_while_nobody_dies` is at least `survive`.

    Examples
    --------
    >>> number_to_claim(0.9, confidence=0.95)
    29
    """
    return max(1, math.ceil(math.log(1 - confidence) / math.log(survive) - 1e-9))


class _Moments(NamedTuple):
    """Of a product of independent variables: both are sums over its factors."""

    log_mean: Floats
    log_square: Floats
    """Of the mean of the square over the square of the mean."""

    def cumulated(self) -> _Moments:
        """Those of the product of each with all before it."""
        return _Moments(*(np.cumsum(each, axis=-1) for each in self))

    def times(self, other: _Moments) -> _Moments:
        """Those of the product with another."""
        return _Moments(self.log_mean + other.log_mean, self.log_square + other.log_square)


def _factor(a: Floats, b: Floats) -> _Moments:
    """Moments of Beta(a, b), which is 1 where b is 0."""
    return _Moments(-np.log1p(b / a), np.log1p(b / (a * (a + b + 1))))


def _quantile(moments: _Moments, q: float) -> Floats:
    """Quantile of the beta distribution with these moments; 1 where they are those of 1."""
    # Starting takes a while, and most commands need no interval.
    from scipy.special import betaincinv

    mean, rest = np.exp(moments.log_mean), -np.expm1(moments.log_mean)
    spread = np.expm1(moments.log_square) * mean
    varies = spread > 0
    size = np.divide(rest, spread, out=np.ones_like(rest), where=varies) - 1
    found: Floats = betaincinv(
        np.where(varies, mean * size, 1.0), np.where(varies, rest * size, 1.0), q
    )
    return np.where(varies, found, 1.0)
