"""The axis of doses: linear near 0 and logarithmic beyond, with ticks at the doses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

LINEAR_WIDTH = 0.25
"""Dose at which the scale turns from linear to logarithmic; doses that double lie evenly."""

STEP, CROWDED = 0.025, 0.5
"""Distance of two groups at one dose, over the length of the axis; and what all groups may take of
the smallest distance between two doses."""

MARGIN = 0.06
"""Space before the first and after the last dose, over the distance between them."""

BETWEEN_LABELS = 0.6
"""Space between two labels of ticks, in letters."""

Floats = npt.NDArray[np.floating[Any]]


def scaled(alphas: npt.ArrayLike) -> Floats:
    """Position of doses on the axis: asinh(alpha / 0.25)."""
    return np.asarray(np.arcsinh(np.asarray(alphas, dtype=float) / LINEAR_WIDTH))


def unscaled(positions: npt.ArrayLike) -> Floats:
    """Doses at positions of the axis."""
    return np.asarray(LINEAR_WIDTH * np.sinh(np.asarray(positions, dtype=float)))


def side_steps(alphas: npt.ArrayLike, n_groups: int) -> Floats:
    """Position of each group's marks relative to their dose, so that few hide each other.

    Parameters
    ----------
    alphas : array of float
        Doses, ascending.
    n_groups : int

    Returns
    -------
    array (group,)
        In units of `scaled`. All of them together take half of the smallest distance of two doses
        at most, so that each mark stands at its own dose.

    Examples
    --------
    >>> np.ptp(side_steps([0, 0.5, 1], 6)) < 0.5 * np.diff(scaled([0, 0.5, 1])).min()
    np.True_
    """
    places = scaled(alphas)
    span = np.ptp(places) or 1.0
    step = STEP * span
    if places.size > 1:
        step = min(step, CROWDED * np.diff(places).min() / max(n_groups, 1))
    return step * (np.arange(n_groups) - (n_groups - 1) / 2)


def limits(alphas: npt.ArrayLike) -> tuple[float, float]:
    """Ends of the axis, in units of `scaled`."""
    places = scaled(alphas)
    margin = MARGIN * (np.ptp(places) or 1.0)
    return float(places.min() - margin), float(places.max() + margin)


def labelled(alphas: npt.ArrayLike, texts: Sequence[str], letter: float) -> list[int]:
    """Choose the doses whose ticks have a label, so that no label meets another.

    Parameters
    ----------
    alphas : array of float
        Doses, ascending.
    texts : sequence of str
        Their labels.
    letter : float
        Width of a letter over the length of the axis.

    Returns
    -------
    list of int
        Indices, ascending. The extremes, 0 and 1 go first, then short labels.

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
