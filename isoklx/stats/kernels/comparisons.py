"""Multiple tests, and paired differences of survival."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from isoklx.stats.kernels.kaplan_meier import at_risk, carry_forward, kaplan_meier

Bools = npt.NDArray[np.bool_]


def last_of_sequence(passed: Bools, tested: Bools) -> npt.NDArray[np.intp]:
    """Return the last dose at which, and at every smaller tested one, the test was passed.

    Doses are tested upwards, each at the full level, until the first failure. The probability of
    calling any unsafe dose safe is the level of one test, whatever the number of doses.

    Parameters
    ----------
    passed, tested : array (..., dose), bool
        In ascending order of dose.

    Returns
    -------
    array (...), intp
        Index of the dose; -1 if the first tested dose failed or none was tested.

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
    """Return the index of the dose at which `last_of_sequence` stopped; -1 if all passed.

    Examples
    --------
    >>> first_failure(np.array([True, True, False]), np.array([True, False, True]))
    array(2)
    """
    failed = tested & ~passed
    return np.where(failed.any(axis=-1), failed.argmax(axis=-1), -1)


def holm(p_values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Adjust p values for multiple tests by Holm's method; NaN (no test) stays NaN.

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
"""Whole numbers in an integer or floating dtype."""


def influence(ended: Counts, died: Counts) -> Floats:
    """Return the influence of each unit on the Kaplan-Meier estimate.

    It is the derivative of the estimate in the weight of a unit. Without censoring it is the
    surviving share of the unit minus that of all units, divided by the number of units.

    Parameters
    ----------
    ended, died : array (..., unit, time)
        Trajectories of each unit that died or were last observed at each time, and that died.

    Returns
    -------
    array (..., unit, time), float64
        Sums to 0 over units; 0 once all have died.

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
    """Estimate the correlation of two estimates from their influences, biased towards 0.

    A positive covariance is reduced by the contribution of half a unit (continuity correction of
    Newcombe 1998): agreement at every one of a few units does not prove perfect correlation.

    Parameters
    ----------
    first, second : array (..., unit)
        `influence` of the same units on both estimates; 0 for a unit missing on a side.
    largest : float
        Length of the range of the estimates, such as 1 for survival.

    Returns
    -------
    array (...), float64
        In [-1, 1]; 0 if a side does not vary.

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
    """Return the interval (..., 2) of ``first - second`` from both intervals and the correlation.

    References
    ----------
    Newcombe (1998), Statistics in Medicine 17, 2635-2650, method 10; Zou and Donner (2008), 27,
    1693-1702.

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
