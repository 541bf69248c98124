"""Whether a cell's files can be of one run: what its calibration would have made is there."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SAME_COEFFICIENT = 1e-3
"""Relative difference up to which two coefficients are one: runs may round what they record."""


def coeff_mismatch(coeff: Any, alpha: Any, c_star: Any) -> Floats:
    """Relative difference between a dose's coefficient and alpha * c_star.

    Parameters
    ----------
    coeff, alpha, c_star : array of float
        They broadcast.

    Returns
    -------
    ndarray
        float64; 0 where both are 0, NaN where one is.

    Examples
    --------
    >>> coeff_mismatch([0.0, 1.5], [0.0, 1.0], 1.2).round(3)
    array([0. , 0.2])
    """
    with np.errstate(over="ignore", invalid="ignore"):
        expected = np.multiply(alpha, c_star)
        size = np.maximum(np.abs(coeff), np.abs(expected))
        off: Floats = np.abs(np.subtract(coeff, expected)) / np.where(size == 0, 1.0, size)
    return off


def was_tried(c_star: Any, tried: Any) -> npt.NDArray[np.bool_]:
    """Whether a step of the bisection tried ``c_star``.

    Parameters
    ----------
    c_star : array of float
    tried : array of float
        The coefficients along one more axis, the last; NaN where there was no step.

    Examples
    --------
    >>> was_tried([1.2, 1.5], [[1.0, 1.2], [1.0, np.nan]])
    array([ True, False])
    """
    wanted = np.asarray(c_star, dtype=np.float64)[..., np.newaxis]
    near = np.abs(tried - wanted) <= SAME_COEFFICIENT * np.abs(wanted)
    return np.asarray(near.any(axis=-1))
