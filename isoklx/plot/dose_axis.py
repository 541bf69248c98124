"""The dose axis: linear near 0 and logarithmic beyond, with ticks at the doses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

LINEAR_WIDTH = 0.25
"""Dose at which the scale changes from linear to logarithmic; doubled doses are evenly spaced."""

STEP, CROWDED = 0.025, 0.5
"""Distance between two groups at one dose as a fraction of the axis; and the fraction of the
smallest distance between two doses that all groups may occupy."""

MARGIN = 0.06
"""Margin at both ends as a fraction of the distance from the first to the last dose."""

BETWEEN_LABELS = 0.6
"""Minimum space between two tick labels, in letters."""

Floats = npt.NDArray[np.floating[Any]]


def scaled(alphas: npt.ArrayLike) -> Floats:
    """Return the positions of doses on the axis: asinh(alpha / 0.25)."""
    return np.asarray(np.arcsinh(np.asarray(alphas, dtype=float) / LINEAR_WIDTH))


def unscaled(positions: npt.ArrayLike) -> Floats:
    """Return the doses at positions on the axis, the inverse of `scaled`."""
    return np.asarray(LINEAR_WIDTH * np.sinh(np.asarray(positions, dtype=float)))


def side_steps(alphas: npt.ArrayLike, n_groups: int) -> Floats:
    """Return each group's offset from its dose, in units of `scaled`, so that marks do not overlap.

    All offsets span at most half of the smallest distance between two doses.
    """
    places = scaled(alphas)
    span = np.ptp(places) or 1.0
    step = STEP * span
    if places.size > 1:
        step = min(step, CROWDED * np.diff(places).min() / max(n_groups, 1))
    return step * (np.arange(n_groups) - (n_groups - 1) / 2)


def limits(alphas: npt.ArrayLike) -> tuple[float, float]:
    """Return the limits of the axis, in units of `scaled`."""
    places = scaled(alphas)
    margin = MARGIN * (np.ptp(places) or 1.0)
    return float(places.min() - margin), float(places.max() + margin)


def labelled(alphas: npt.ArrayLike, texts: Sequence[str], letter: float) -> list[int]:
    """Choose the ascending doses to label (indices), so that no labels overlap.

    The extremes, 0 and 1 come first, then short labels. `letter` is the width of a letter as a
    fraction of the axis.

    Examples
    --------
    >>> doses = [0, 0.25, 0.5, 0.75, 1, 2, 4]
    >>> [doses[i] for i in labelled(doses, [f"{dose:g}" for dose in doses], 0.04)]
    [0, 0.5, 1, 2, 4]
    """
    doses, places = np.asarray(alphas, dtype=float), scaled(alphas)
    low, high = limits(alphas)
    places = (places - low) / (high - low)
    last = len(texts) - 1

    def order(i: int) -> tuple[bool, bool, int, float]:
        return i not in (0, last), doses[i] not in (0, 1), len(texts[i]), abs(doses[i])

    kept: list[int] = []
    for i in sorted(range(len(texts)), key=order):
        needed = [(len(texts[i]) + len(texts[j])) / 2 + BETWEEN_LABELS for j in kept]
        apart = np.abs(places[i] - places[kept])
        if (apart >= letter * np.array(needed)).all():
            kept.append(i)
    return sorted(kept)
