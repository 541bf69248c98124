"""Tests of several doses or pairs: which may be believed, all taken together."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

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
