"""Checks that the files of a cell belong to one run."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SAME_COEFFICIENT = 1e-3
"""Relative difference up to which two coefficients are equal: runs may round recorded values."""


def coeff_mismatch(coeff: Any, alpha: Any, c_star: Any) -> Floats:
    """Return the difference of coeff and alpha * c_star, relative to the larger; NaN stays NaN."""
    with np.errstate(over="ignore", invalid="ignore"):
        expected = np.multiply(alpha, c_star)
        size = np.maximum(np.abs(coeff), np.abs(expected))
        off: Floats = np.abs(np.subtract(coeff, expected)) / np.where(size == 0, 1.0, size)
    return off


def was_tried(c_star: Any, tried: Any) -> npt.NDArray[np.bool_]:
    """Return whether c_star is one of the coefficients along the last axis of `tried`."""
    wanted = np.asarray(c_star, dtype=np.float64)[..., np.newaxis]
    near = np.abs(tried - wanted) <= SAME_COEFFICIENT * np.abs(wanted)
    return np.asarray(near.any(axis=-1))
