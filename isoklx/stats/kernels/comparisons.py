"""Tests of several doses or pairs: which may be believed, all taken together."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from isoklx.stats.kernels.kaplan_meier import at_risk, carry_forward, kaplan_meier

Bools = npt.NDArray[np.bool_]


def last_of_sequence(passed: Bools, tested: Bools) -> npt.NDArray[np.intp]:
    """Find the last dose at which, and at every smaller tested one, a test was passed.

    Doses are tested upwards, each at the full level, and testing stops at the first failure: the
    probability of calling any dose safe that is not is the level of one test, however many doses
    there are.

    Parameters
    ----------
    passed, tested : array (..., dose), bool
        Doses ascend.

    Returns
    -------
    array (...), intp
        Index of the dose; -1 where the first tested dose failed or none was tested.

    References
    ----------
    Maurer, Hothorn and Lehmacher (1995), Multiple comparisons in drug clinical trials and
    preclinical assays: a-priori ordered hypotheses, in Biometrie in der chemisch-pharmazeutischen
    Industrie 6, 3-18.

    Examples
    --------
    >>> passed = np.array([[True, True, False, True], [False, True, True, True]])
    >>> last_of_sequence(passed, np.ones((2, 4), dtype=bool))
    array([ 1, -1])
    """
    safe = tested & np.logical_and.accumulate(passed | ~tested, axis=-1)
    last: npt.NDArray[np.intp] = np.where(safe, np.arange(tested.shape[-1]), -1).max(
        axis=-1, initial=-1
    )
    return last


def first_failure(passed: Bools, tested: Bools) -> npt.NDArray[np.intp]:
    """Find the dose at which the testing of `last_of_sequence` stopped.

    Parameters
    ----------
    passed, tested : array (..., dose), bool
        As for `last_of_sequence`.

    Returns
    -------
    array (...), intp
        Index of the dose; -1 where every tested dose passed.

    Examples
    --------
    >>> first_failure(np.array([True, True, False]), np.array([True, False, True]))
    array(2)
    """
    failed = tested & ~passed
    return np.where(failed.any(axis=-1), failed.argmax(axis=-1), -1)


def holm(p_values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Adjust p values for their number, so that any of those below a level may be believed at it.

    Parameters
    ----------
    p_values : array (test,), float64
        NaN where there is no test, which counts for nothing.

    Returns
    -------
    array (test,), float64
        At least the p values, and at most 1; NaN where they are.

    References
    ----------
    Holm (1979), A simple sequentially rejective multiple test procedure, Scandinavian Journal of
    Statistics 6, 65-70.

    Examples
    --------
    >>> holm(np.array([0.01, 0.04, np.nan, 0.03]))
    array([0.03, 0.06,  nan, 0.06])
    """
    order = np.argsort(p_values)
    known = np.count_nonzero(~np.isnan(p_values))
    factors = np.maximum(known - np.arange(p_values.size), 1)
    adjusted = np.empty_like(p_values, dtype=float)
    adjusted[order] = np.minimum(np.maximum.accumulate(p_values[order] * factors), 1.0)
    return adjusted


Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[Any]
"""Whole numbers, in an integer or a floating dtype."""


def influence(ended: Counts, died: Counts) -> Floats:
    """Measure what each unit contributes to the deviation of survival from its expectation.

    The derivative of the Kaplan-Meier estimate in a unit's weight: without censoring, a unit's
    share alive minus that of all, over the number of units.

    Parameters
    ----------
    ended, died : array (..., unit, time)
        How many of each unit's trajectories died or were seen for the last time, and how many of
        them died, at each time.

    Returns
    -------
    array (..., unit, time), float64
        Sums to 0 over units; 0 where nobody is left alive.

    References
    ----------
    Ying and Wei (1994), The Kaplan-Meier estimate for dependent failure time observations, Journal
    of Multivariate Analysis 50, 17-29.

    Examples
    --------
    >>> influence(np.array([[1, 0], [0, 1]]), np.array([[1, 0], [0, 0]]))
    array([[-0.25, -0.25],
           [ 0.25,  0.25]])
    """
    own = at_risk(ended)
    everyone, all_died = own.sum(axis=-2, keepdims=True), died.sum(axis=-2, keepdims=True)
    alive = np.broadcast_to(everyone - all_died, own.shape)
    hazard = np.divide(all_died, everyone, out=np.zeros(everyone.shape), where=everyone > 0)
    surplus = died - own * hazard
    steps = np.divide(surplus, alive, out=np.zeros(own.shape), where=alive > 0)
    survival = np.nan_to_num(carry_forward(kaplan_meier(everyone, all_died)))
    contribution: Floats = -survival * np.cumsum(steps, axis=-1)
    return contribution


def correlation(first: Floats, second: Floats, *, largest: float) -> Floats:
    """Correlate two estimates by what each unit contributes to them, erring towards none.

    A positive covariance is taken to be smaller by what half a unit could bring about, as Newcombe
    does: that two sides agreed at every one of a few units does not show that they always do.

    Parameters
    ----------
    first, second : array (..., unit)
        As of `influence`, of the same units; 0 for a unit that a side lacks.
    largest : float
        Length of the range that the estimates can be in, such as 1 for survival.

    Returns
    -------
    array (...), float64
        In [-1, 1]; 0 where one side does not vary.

    Examples
    --------
    >>> alive = np.array([0.125, 0.125, -0.125, -0.125])
    >>> correlation(alive, alive, largest=1.0), correlation(alive, -alive, largest=1.0)
    (np.float64(0.5), np.float64(-1.0))
    """
    units = first.shape[-1]
    covariance = (first * second).sum(axis=-1)
    margin = largest**2 / (2 * units**2)
    covariance = np.where(covariance > 0, np.maximum(covariance - margin, 0.0), covariance)
    scale = np.sqrt((first**2).sum(axis=-1) * (second**2).sum(axis=-1))
    ratio = np.divide(covariance, scale, out=np.zeros(scale.shape), where=scale > 0)
    bounded: Floats = np.clip(ratio, -1.0, 1.0)
    return bounded


def difference_interval(
    first: Floats, first_bounds: Floats, second: Floats, second_bounds: Floats, rho: Floats
) -> Floats:
    """Interval of a difference, from the interval of each side and their correlation.

    Parameters
    ----------
    first, second : array (...), float64
        Estimates.
    first_bounds, second_bounds : array (..., 2), float64
        Lower and upper bound of each.
    rho : array (...), float64
        As of `correlation`.

    Returns
    -------
    array (..., 2), float64
        Bounds of `first` minus `second`.

    Examples
    --------
    >>> bounds = np.array([0.7, 1.0])
    >>> difference_interval(np.array(1.0), bounds, np.array(1.0), bounds, np.array(0.0))
    array([-0.3,  0.3])
    """
    below_first, above_first = first - first_bounds[..., 0], first_bounds[..., 1] - first
    below_second, above_second = second - second_bounds[..., 0], second_bounds[..., 1] - second
    difference = first - second
    bounds: Floats = np.stack(
        [
            difference - _combined(below_first, above_second, rho),
            difference + _combined(above_first, below_second, rho),
        ],
        axis=-1,
    )
    return bounds


def _combined(one: Floats, other: Floats, rho: Floats) -> Floats:
    root: Floats = np.sqrt(np.maximum(one**2 + other**2 - 2 * rho * one * other, 0.0))
    return root
