"""Beta product confidence interval of survival for small samples.

Greenwood's variance is 0 until the first death, even in a tiny sample. This interval widens as
the sample shrinks: [0.858, 1] if 24 of 24 trajectories survive. Without censoring it equals the
Clopper-Pearson interval.

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
"""Numbers of trajectories: integer, or floating for effective ones."""


def interval(at_risk: Counts, died: Counts, *, level: float) -> Floats:
    """Return the pointwise interval (..., time, 2) of survival after the deaths at each time.

    With r at risk and d died, the upper bound is a quantile of the product of Beta(r - d + 1, d)
    over the times so far; the lower bound is a quantile of that product times Beta(r - d, 1) of the
    last time. The product is approximated by the beta distribution with its mean and variance.

    Parameters
    ----------
    at_risk, died : array (..., time)
        Trajectories at risk and deaths at each time; from `effective_counts` if trajectories
        depend on each other.
    level : float
        Confidence, such as 0.95, two-sided.

    Returns
    -------
    array (..., time, 2), float64
        Lower and upper bound. With no trajectory at risk they are NaN or, if all have died, keep
        the values after the last death (lower bound 0).

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
    """Convert dependent trajectories to an equivalent number of independent ones.

    Trajectories of one prompt may depend on each other in any way. By Cauchy-Schwarz, the m
    trajectories of a prompt add at most m times their variance under independence, reached if
    they are copies. With that variance, r at risk are worth ``r**2 / shared``: r / m if each
    prompt has m trajectories, r if each has one.

    Parameters
    ----------
    at_risk, died : array (..., time)
        Numbers of trajectories.
    shared : array (..., time)
        Sum, over trajectories at risk, of the number of trajectories of the same prompt.

    Returns
    -------
    at_risk, died : array (..., time), float64
        Effective numbers, with the same ratio.

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
    """Return the one-sided lower bound if all n survive: ``(1 - confidence)**(1 / n)``.

    Examples
    --------
    >>> bound_while_nobody_dies(np.array([8, 29]), confidence=0.95).round(3)
    array([0.688, 0.902])
    """
    bound: Floats = (1 - confidence) ** (1 / np.asarray(n, dtype=float))
    return bound


def number_at_bound(bound: float, *, confidence: float) -> float:
    """Invert `bound_while_nobody_dies`: n, not necessarily whole, from the bound.

    Examples
    --------
    >>> round(number_at_bound(0.05 ** (1 / 19), confidence=0.95), 6)
    19.0
    """
    return math.log(1 - confidence) / math.log(bound) if bound < 1 else math.inf


def number_to_claim(survive: float, *, confidence: float) -> int:
    """Return the smallest n, all surviving, whose lower bound is at least `survive`.

    Examples
    --------
    >>> number_to_claim(0.9, confidence=0.95)
    29
    """
    return max(1, math.ceil(math.log(1 - confidence) / math.log(survive) - 1e-9))


class _Moments(NamedTuple):
    """Moments of a product of independent variables, as sums over its factors."""

    log_mean: Floats
    log_square: Floats
    """log(E[X^2] / E[X]^2)."""

    def cumulated(self) -> _Moments:
        """Return the moments of the cumulative products."""
        return _Moments(*(np.cumsum(each, axis=-1) for each in self))

    def times(self, other: _Moments) -> _Moments:
        """Return the moments of the product with another."""
        return _Moments(self.log_mean + other.log_mean, self.log_square + other.log_square)


def _factor(a: Floats, b: Floats) -> _Moments:
    """Return the moments of Beta(a, b), which is the constant 1 if b is 0."""
    return _Moments(-np.log1p(b / a), np.log1p(b / (a * (a + b + 1))))


def _quantile(moments: _Moments, q: float) -> Floats:
    """Return the quantile of the beta distribution with these moments; 1 for the constant 1."""
    # Import scipy late: it is slow, and most commands do not need it.
    from scipy.special import betaincinv

    mean, rest = np.exp(moments.log_mean), -np.expm1(moments.log_mean)
    spread = np.expm1(moments.log_square) * mean
    varies = spread > 0
    size = np.divide(rest, spread, out=np.ones_like(rest), where=varies) - 1
    found: Floats = betaincinv(
        np.where(varies, mean * size, 1.0), np.where(varies, rest * size, 1.0), q
    )
    return np.where(varies, found, 1.0)
