"""Doses as labels: which spellings of a number are one dose, and which of them names it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from isoklx.schema import same_dose

Alphas = npt.NDArray[np.float64]


def union(doses: Sequence[float] | npt.NDArray[np.floating[Any]]) -> Alphas:
    """Name every dose once.

    Parameters
    ----------
    doses : array of float
        Finite, in any order.

    Returns
    -------
    ndarray
        float64, ascending. Of numbers that are the same dose it is the one with the shortest
        spelling, whatever the order.

    Examples
    --------
    >>> union([2, 0.1 + 0.2, 0.3])
    array([0.3, 2. ])
    """
    groups: list[list[float]] = []
    for dose in np.unique(np.asarray(doses, dtype=np.float64)).tolist():
        if groups and same_dose(groups[-1][0], dose):
            groups[-1].append(dose)
        else:
            groups.append([dose])
    return np.array([_shortest(group) for group in groups], dtype=np.float64)


def positions(
    labels: Alphas, doses: Sequence[float] | npt.NDArray[np.floating[Any]]
) -> npt.NDArray[np.intp]:
    """Where each dose stands among the labels of a `union` that holds it.

    Examples
    --------
    >>> positions(np.array([0.3, 2.0]), [0.1 + 0.2, 2])
    array([0, 1])
    """
    wanted = np.asarray(doses, dtype=np.float64)
    after = np.searchsorted(labels, wanted).clip(max=max(labels.size - 1, 0))
    before = np.maximum(after - 1, 0)
    if not labels.size:
        return after
    nearer = np.abs(labels[before] - wanted) < np.abs(labels[after] - wanted)
    found: npt.NDArray[np.intp] = np.where(nearer, before, after)
    return found


def twice(doses: Sequence[float]) -> tuple[int, int] | None:
    """Indices of two that are the same dose, the earlier first; None where there are none.

    Examples
    --------
    >>> twice([0.3, 1, 0.1 + 0.2])
    (0, 2)
    """
    order = sorted(range(len(doses)), key=doses.__getitem__)
    for i, j in pairwise(order):
        if same_dose(doses[i], doses[j]):
            return min(i, j), max(i, j)
    return None


def _shortest(group: list[float]) -> float:
    return group[0] if len(group) == 1 else min(group, key=lambda dose: len(repr(dose)))
