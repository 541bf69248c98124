"""Limits of the KL axis, and a word where they cut something off."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from isoklx.errors import UsageError
from isoklx.plot.facets import note, say_why_empty

FLOOR = 1e-4
"""Nats; below this a logarithmic axis would show rounding."""


@dataclass(frozen=True)
class Extent:
    """How far up and down the values of one panel go.

    Parameters
    ----------
    low, high : float
        All but 2% of the positive values are above, all but 2% of all values below.
    highest : float
        The largest value; NaN in an empty panel, as the others are.
    """

    low: float
    high: float
    highest: float

    @classmethod
    def of(cls, lower: npt.NDArray[Any], upper: npt.NDArray[Any]) -> Extent:
        """Extent of what lies between two arrays."""
        lower, upper = lower[lower > 0], upper[~np.isnan(upper)]
        low = float(np.quantile(lower, 0.02)) if lower.size else np.nan
        if not upper.size:
            return cls(low, np.nan, np.nan)
        return cls(low, float(np.quantile(upper, 0.98)), float(upper.max()))


def check_ymax(ymax: float | Literal["auto"]) -> None:
    """Raise UsageError unless this can be an upper limit."""
    if ymax != "auto" and not (isinstance(ymax, int | float) and 0 < ymax < np.inf):
        raise UsageError(f"kl_ymax={ymax!r}: give nats above 0, or 'auto'")


def limit(
    extents: Mapping[Axes, Extent],
    *,
    ymax: float | Literal["auto"],
    log: bool,
    least: float,
    why_empty: str = "not run",
) -> None:
    """Give all panels the same limits, and write into a panel how far it goes beyond them.

    Parameters
    ----------
    extents : mapping of Axes to Extent
        What was drawn.
    ymax : float or "auto"
        Upper limit; by itself above 98% of the fullest panel, and above all of it if `log`.
    log : bool
        Whether the axis is logarithmic.
    least : float
        What an automatic limit includes at least.
    why_empty : str
        What a panel without any value says.
    """
    full = [extent for extent in extents.values() if not np.isnan(extent.highest)]
    if ymax == "auto":
        top = 1.15 * max([least, *(each.highest if log else each.high for each in full)])
    else:
        top = ymax
    lows = [extent.low for extent in full if not np.isnan(extent.low)]
    # A line at 0 is not to hide behind a linear axis.
    bottom = min(top / 10, max(FLOOR, min(lows, default=FLOOR))) if log else -top / 60
    for ax, extent in extents.items():
        if log:
            ax.set_yscale("log")
        ax.set_ylim(bottom, top)
        if np.isnan(extent.highest):
            say_why_empty(ax, why_empty)
        elif extent.highest < bottom:
            say_why_empty(ax, f"below {bottom:.2g}")
        elif extent.highest > top:
            note(ax, f"max {extent.highest:.3g} \N{UPWARDS ARROW}")
