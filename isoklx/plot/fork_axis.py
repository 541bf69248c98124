"""A token axis for forks, which lie ever further apart and begin at 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator

ROUND_TOKENS = [0, *(digit * 10**power for power in range(7) for digit in (1, 2, 5))]


def set_fork_scale(ax: Axes, forks: npt.NDArray[Any], ticks: Sequence[int]) -> None:
    """Scale the x axis by log(1 + token), up to the last fork, with these ticks."""
    end = np.log1p(max(int(forks[-1]) if forks.size else 1, 1))
    ax.set_xscale("function", functions=(np.log1p, np.expm1))
    ax.set_xlim(np.expm1(-0.03 * end), np.expm1(1.03 * end))
    ax.xaxis.set_major_locator(FixedLocator(list(ticks)))
    ax.xaxis.set_minor_locator(NullLocator())


def fork_ticks(forks: npt.NDArray[Any], apart: float) -> list[int]:
    """Every so many of the forks, so that numbers fit beside each other; the last, and the first.

    Parameters
    ----------
    forks : array of int
        Ascending.
    apart : float
        Least distance of two ticks, over the width of the axis.

    Returns
    -------
    list of int

    Examples
    --------
    >>> fork_ticks(np.array([0, 1, 2, 4, 8, 16, 32, 64]), 0.3)
    [0, 8, 64]
    """
    if not forks.size:
        return []
    few = forks.size <= 40
    ticks = forks if few else np.union1d(np.intersect1d(forks, ROUND_TOKENS), forks[-1:])
    apart = apart * np.log1p(forks[-1])
    steps = (ticks[::-step][::-1] for step in range(1, ticks.size + 1))
    kept = next(some for some in steps if (np.diff(np.log1p(some)) >= apart).all())
    near = np.log1p(kept[0]) - np.log1p(forks[0]) <= apart
    return list(dict.fromkeys([int(forks[0]), *map(int, kept[1:] if near else kept)]))
