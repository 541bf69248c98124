"""Means and quantiles of tokens in clusters (units), such as the tokens of one prompt.

Tokens of a rollout are correlated: precision depends on how units differ, and hardly on the number
of tokens.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[Any]


def share(total: Numbers, count: Numbers, *, level: float) -> Floats:
    """Return the mean of values in [0, 1] with a Clopper-Pearson interval at the effective size.

    The effective size is the number of independent values whose mean would vary as much as between
    units, reduced for few units (quantiles of Student's t replace the normal ones). If units do not
    differ at all, for example if all values are 0, each unit counts once.

    Parameters
    ----------
    total, count : array (..., unit)
        Sum and number of the values of each unit.
    level : float
        Confidence, such as 0.95.

    Returns
    -------
    array (..., 3), float64
        Mean, lower and upper bound; NaN without values. The bounds are NaN with fewer than two
        units.

    References
    ----------
    Korn and Graubard (1998), Confidence intervals for proportions with small expected number of
    positive counts estimated from survey data, Survey Methodology 24, 193-201.

    Examples
    --------
    >>> share(np.array([0, 0, 0, 0]), np.array([9, 9, 9, 9]), level=0.95).round(3)
    array([0.   , 0.   , 0.602])
    """
    # A fixed memory order makes sums reproducible to the last digit.
    total, count = (np.array(each, dtype=float, order="C") for each in (total, count))
    # Clip: rounding of float32 sums can leave [0, 1] slightly.
    found = np.clip(_ratio_of_sums(total, count), 0.0, 1.0)
    size = _effective_size(total, count, found, found, level)
    low, high = np.moveaxis(_exact(found, size, level), -1, 0)
    # The beta quantile cannot resolve a tiny share; keep the bounds around the estimate.
    return np.stack([found, np.minimum(low, found), np.maximum(high, found)], axis=-1)


def mean(total: Numbers, count: Numbers, *, level: float) -> Floats:
    """Return the mean of unbounded values with Student's t interval over units.

    Parameters and results are as for `share`. The interval has zero width if units do not differ.

    References
    ----------
    Cochran (1977), Sampling Techniques, section 6.3, for the variance of a ratio of sums.

    Examples
    --------
    >>> mean(np.array([1.0, 2.0, 3.0]), np.array([1, 1, 1]), level=0.95).round(2)
    array([ 2.  , -0.48,  4.48])
    """
    from scipy.special import stdtrit

    total, count = (np.array(each, dtype=float, order="C") for each in (total, count))
    found = _ratio_of_sums(total, count)
    units = (count > 0).sum(axis=-1)
    spread = stdtrit(np.maximum(units - 1, 1), (1 + level) / 2) * np.sqrt(
        _variance(total, count, found)
    )
    return np.stack([found, found - spread, found + spread], axis=-1)


def macro_mean(values: Numbers, first: Numbers, second: Numbers, *, level: float) -> Floats:
    """Average the means of two classes of units, with a t interval for unequal variances.

    Parameters
    ----------
    values : array (..., unit), floating
        One value per unit.
    first, second : array (..., unit), bool
        Class of each unit; units in neither class are left out.
    level : float
        Confidence, such as 0.95.

    Returns
    -------
    array (..., 3), float64
        Mean of the two class means, lower and upper bound. NaN if a class is empty; the bounds are
        NaN if a class has a single unit.

    References
    ----------
    Welch (1947), The generalization of Student's problem when several different population
    variances are involved, Biometrika 34, 28-35, for the degrees of freedom.

    Examples
    --------
    >>> values, first = np.array([1.0, 3.0, 0.0, 0.0]), np.array([True, True, False, False])
    >>> macro_mean(values, first, ~first, level=0.95).round(2)
    array([ 1.  , -5.35,  7.35])
    """
    from scipy.special import stdtrit

    values = np.array(values, dtype=float, order="C")
    means, variances, freedom = [], [], []
    for members in (first, second):
        n = members.sum(axis=-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = np.where(members, values, 0.0).sum(axis=-1) / n
            off = np.where(members, values - mean[..., np.newaxis], 0.0)
            variance = (off**2).sum(axis=-1) / (n - 1) / n
        means.append(mean)
        variances.append(np.where(n > 1, variance, np.nan))
        freedom.append(n - 1)
    found = (means[0] + means[1]) / 2
    both = variances[0] + variances[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        df = both**2 / sum(v**2 / f for v, f in zip(variances, freedom, strict=True))
    spread = stdtrit(np.where(both > 0, df, 1.0), (1 + level) / 2) * np.sqrt(both) / 2
    return np.stack([found, found - spread, found + spread], axis=-1)


def pooled_quantile(samples: Numbers, q: float, *, level: float) -> Floats:
    """Return the quantile of all values with Woodruff's interval over units.

    The share of values above the quantile gets an interval as in `share`; the bounds are the
    quantiles at its ends.

    Parameters
    ----------
    samples : array (..., unit, value), floating
        NaN marks missing values.
    q : float
        Quantile, between 0 and 1, exclusive.
    level : float
        Confidence, such as 0.95.

    Returns
    -------
    array (..., 3), float64
        Linear quantile, lower and upper bound; NaN as for `share`.

    References
    ----------
    Woodruff (1952), Confidence intervals for medians and other position measures, Journal of the
    American Statistical Association 47, 635-646.

    Examples
    --------
    >>> samples = np.arange(400.0).reshape(20, 20).T
    >>> pooled_quantile(samples, 0.5, level=0.95).round(1)
    array([199.5, 108.5, 290.5])
    """
    ordered = np.sort(samples.reshape(*samples.shape[:-2], -1), axis=-1)
    present = ~np.isnan(samples)
    known = present.sum(axis=(-1, -2))
    at = _quantile_of_sorted(ordered, known, np.full((*known.shape, 1), q))
    beyond = (samples > at[..., np.newaxis]).sum(axis=-1)
    count = present.sum(axis=-1).astype(float)
    found = beyond.sum(axis=-1) / np.maximum(known, 1)
    size = _effective_size(beyond.astype(float), count, found, np.full(known.shape, 1 - q), level)
    bounds = 1 - _exact(np.full(known.shape, 1 - q), size, level)[..., ::-1]
    return np.concatenate([at, _quantile_of_sorted(ordered, known, bounds)], axis=-1)


def _ratio_of_sums(total: Floats, count: Floats) -> Floats:
    everything = count.sum(axis=-1)
    missing = np.full(everything.shape, np.nan)
    ratio: Floats = np.divide(total.sum(axis=-1), everything, out=missing, where=everything > 0)
    return ratio


def _variance(total: Floats, count: Floats, ratio: Floats) -> Floats:
    """Return the variance of a ratio of sums over units; NaN for fewer than two units."""
    units = (count > 0).sum(axis=-1)
    residual = total - np.nan_to_num(ratio)[..., np.newaxis] * count
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = units / (units - 1) * (residual**2).sum(axis=-1) / count.sum(axis=-1) ** 2
    return np.where(units > 1, variance, np.nan)


def _effective_size(
    total: Floats, count: Floats, ratio: Floats, nominal: Floats, level: float
) -> Floats:
    """Return the equivalent number of independent values; NaN for fewer than two units."""
    units = (count > 0).sum(axis=-1)
    variance = _variance(total, count, ratio)
    with np.errstate(divide="ignore", invalid="ignore"):
        evenly = count.sum(axis=-1) ** 2 / (count**2).sum(axis=-1)
        size = nominal * (1 - nominal) / variance
    # Units that agree to rounding do not prove that the variance is 0: count each once.
    alike = ~(variance > (1e-9 / np.maximum(units, 1)) ** 2) | ~(size > 0)
    size = np.where(alike, evenly, size * _small_sample_factor(units, level))
    return np.where(units > 1, size, np.nan)


def _small_sample_factor(units: Numbers, level: float) -> Floats:
    """Return the factor by which few units reduce the effective size."""
    from scipy.special import stdtrit

    q = (1 + level) / 2
    ratio: Floats = NormalDist().inv_cdf(q) / stdtrit(np.maximum(units - 1, 1), q)
    return ratio**2


def _exact(share: Floats, size: Floats, level: float) -> Floats:
    """Return Clopper-Pearson bounds (..., 2) of a share; `size` need not be whole."""
    from scipy.special import betaincinv

    tail = (1 - level) / 2
    hits, misses = share * size, (1 - share) * size
    none, every = ~(hits > 0), ~(misses > 0)
    lower = betaincinv(np.where(none, 1.0, hits), misses + 1, tail)
    upper = betaincinv(hits + 1, np.where(every, 1.0, misses), 1 - tail)
    bounds = np.stack([np.where(none, 0.0, lower), np.where(every, 1.0, upper)], axis=-1)
    return np.where(np.isnan(hits)[..., np.newaxis], np.nan, bounds)


def _quantile_of_sorted(ordered: Numbers, known: Numbers, q: Floats) -> Floats:
    """Return linear quantiles (..., k) of rows whose first `known` values are sorted."""
    if not ordered.shape[-1]:
        return np.full(q.shape, np.nan)
    place = np.nan_to_num(q) * np.maximum(known - 1, 0)[..., np.newaxis]
    below = place.astype(np.intp)
    low = np.take_along_axis(ordered, below, axis=-1).astype(float)
    high = np.take_along_axis(ordered, np.ceil(place).astype(np.intp), axis=-1).astype(float)
    found = low + (high - low) * (place - below)
    return np.where(np.isnan(q) | (known == 0)[..., np.newaxis], math.nan, found)
