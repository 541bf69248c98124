"""KL in one byte: what a shade of colour or a pixel can show, on a logarithmic scale."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

LEAST, MOST = 1e-4, 100.0
"""Nats; what lies beyond is shown as these."""

STEPS = 254
RATIO = (MOST / LEAST) ** (1 / STEPS)
"""From one level to the next: 1.056, so that a KL is shown to within 3%."""


def levels(kl: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.uint8]:
    """Code KL in nats: 0 is none, level i from 1 to 255 is ``LEAST * RATIO ** (i - 1)``.

    Examples
    --------
    >>> levels(np.array([np.nan, 0.0, 1e-4, 1.0, 1e9])).tolist()
    [0, 1, 1, 170, 255]
    """
    known = np.isfinite(kl)
    clipped = np.clip(np.where(known, kl, LEAST), LEAST, MOST)
    coded = 1 + np.rint(np.log(clipped / LEAST) / np.log(RATIO))
    return np.where(known, coded, 0).astype(np.uint8)


def thousandths(kl: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.uint16]:
    """Code KL in two bytes, as thousandths of a nat; the largest number is none.

    Examples
    --------
    >>> thousandths(np.array([0.5, np.nan, 99.0])).tolist()
    [500, 65535, 65534]
    """
    known = np.isfinite(kl)
    coded = np.rint(np.clip(np.where(known, kl, 0), 0, 65.534) * 1000)
    return np.where(known, coded, 65535).astype("<u2")
