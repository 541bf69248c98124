"""Ticks of logarithmic axes: plain numbers, and enough of them on a short axis."""

from __future__ import annotations

from matplotlib.axis import Axis
from matplotlib.ticker import LogLocator, NullLocator


def set_log_ticks(axis: Axis) -> None:
    """Label the decades of an axis, and 2 and 5 between them where there are few decades."""
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 30 * low else (1,)))
    axis.set_major_formatter("{x:g}")
    # Of the time that a figure takes, minor ticks are a third.
    axis.set_minor_locator(NullLocator())
