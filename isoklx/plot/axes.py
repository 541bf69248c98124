"""Limits of the KL axis, and a word where they cut something off."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, LogLocator, NullLocator

from isoklx.errors import UsageError
from isoklx.plot.layout import note, say_why_empty
from isoklx.plot.palette import ink
from isoklx.plot.titles import literal


def set_log_ticks(axis: Axis) -> None:
    """Label the decades of an axis, and 2 and 5 between them where there are few decades."""
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 30 * low else (1,)))
    axis.set_major_formatter("{x:g}")
    # Of the time that a figure takes, minor ticks are a third.
    axis.set_minor_locator(NullLocator())


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


Values = npt.NDArray[Any]

UP, DOWN = "\N{UPWARDS ARROW}", "\N{DOWNWARDS ARROW}"

FLOOR = 1e-4
"""Below this a logarithmic axis would show rounding."""

MANY = 100_000
"""Values of which a quantile is known well enough for the limit of an axis."""

LINEAR_YMAX = 6.0
"""Nats; where a linear axis ends by itself."""

LONGEST = 24
"""Letters of a line of notes, that it meets no other panel's."""

HIGHEST = 1e30
"""Nats; far beyond it the ticks of an axis overflow."""


@dataclass(frozen=True)
class Extent:
    """How far up and down the values of one panel go.

    Parameters
    ----------
    low, high : float
        All but 2% of the positive values are above, all but 2% of all values below.
    highest : float
        The largest value; NaN in an empty panel, as the others are.
    peaks : array (line,)
        The largest value of each line that is drawn by itself.
    medians : mapping of str to array (position,)
        The median line of each group that shares the panel, by its name; of one alone without.
    """

    low: float
    high: float
    highest: float
    peaks: Values = field(default_factory=lambda: np.empty(0))
    medians: Mapping[str, Values] = field(default_factory=dict)

    @classmethod
    def of(
        cls, lower: Values, upper: Values, *, median: Values, peaks: Values | None = None
    ) -> Extent:
        """Extent of what lies between two arrays, and of the median; NaN is nothing."""
        highest = float(np.fmax.reduce(upper, axis=None, initial=-np.inf))
        few = max(1, upper.size // MANY)
        lower, upper, median = lower.ravel()[::few], upper.ravel()[::few], _known(median)
        lower, upper = lower[lower > 0], _known(upper)
        low = float(np.quantile(lower, 0.02)) if lower.size else np.nan
        high = float(np.quantile(upper, 0.98)) if upper.size else np.nan
        highest = highest if np.isfinite(highest) else np.nan
        peaks = np.empty(0) if peaks is None else _known(peaks)
        return cls(low, high, highest, peaks, {"": median})

    @classmethod
    def of_lines(cls, lines: Values, median: Values) -> Extent:
        """Extent of lines, one a row, and of their median."""
        return cls.of(lines, lines, median=median, peaks=np.fmax.reduce(lines, axis=1))

    @classmethod
    def of_all(cls, extents: Mapping[str, Extent]) -> Extent:
        """Extent of what shares a panel, by the names of the groups."""
        if len(extents) == 1:
            return next(iter(extents.values()))
        each = list(extents.values())
        return cls(
            float(np.fmin.reduce([one.low for one in each])),
            float(np.fmax.reduce([one.high for one in each])),
            float(np.fmax.reduce([one.highest for one in each])),
            np.concatenate([one.peaks for one in each]),
            {name: median for name, one in extents.items() for median in one.medians.values()},
        )

    def beyond(self, bottom: float, top: float) -> Iterator[str]:
        """Say what cannot be seen between two limits, one line each."""
        if self.highest > top:
            yield f"max {self.highest:.3g} {UP}"
        yield from _medians("above", {k: m > top for k, m in self.medians.items()}, UP)
        below = self.peaks < bottom
        if below.any():
            yield f"{below.sum()} of {below.size} below axis {DOWN}"
        yield from _medians("below", {k: m < bottom for k, m in self.medians.items()}, DOWN)


def check_ymax(ymax: float | Literal["auto"] | None) -> None:
    """Raise UsageError unless this can be an upper limit."""
    if ymax not in ("auto", None) and not (isinstance(ymax, int | float) and 0 < ymax <= HIGHEST):
        raise UsageError(f"kl_ymax={ymax!r}: give nats above 0, up to {HIGHEST:g}, or auto")


def limit(
    extents: Mapping[Axes, Extent],
    *,
    ymax: float | Literal["auto"],
    log: bool,
    least: float,
    why_empty: str = "not run",
    floor: float = FLOOR,
) -> float:
    """Give all panels the same limits, and write above a panel what lies beyond them.

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
    floor : float
        Where a logarithmic axis begins at the lowest.

    Returns
    -------
    float
        Where the axis begins.
    """
    full = [extent for extent in extents.values() if not np.isnan(extent.highest)]
    if ymax == "auto":
        top = 1.15 * max([least, *(each.highest if log else each.high for each in full)])
    else:
        top = ymax
    lows = [extent.low for extent in full if not np.isnan(extent.low)]
    # A line at 0 is not to hide behind a linear axis.
    lowest = max(floor, min(lows, default=floor))
    bottom = _round_down(min(top / 10, lowest)) if log else -top / 60
    for ax, extent in extents.items():
        # In this order: a logarithmic axis without positive data warns when it looks for limits.
        ax.set_ylim(bottom, top)
        if log:
            ax.set_yscale("log")
            set_log_ticks(ax.yaxis)
        if np.isnan(extent.highest):
            say_why_empty(ax, why_empty)
        elif extent.highest < bottom:
            say_why_empty(ax, f"below {bottom:.2g}")
        else:
            for line in extent.beyond(bottom, top):
                note(ax, line)
    return float(bottom)


def _round_down(value: float) -> float:
    """The next number below with a single digit 1, 2 or 5."""
    power = 10.0 ** np.floor(np.log10(value))
    digit = max(each for each in (1, 2, 5) if each * power <= value * (1 + 1e-9))
    return float(f"{digit * power:.1g}")


def _known(values: Values) -> Values:
    known: Values = values[~np.isnan(values)]
    return known


def _medians(where: str, beyond: Mapping[str, Values], arrow: str) -> Iterator[str]:
    """Words for the medians that are out of sight at more than half of their positions."""
    out = {name: each for name, each in beyond.items() if 2 * each.sum() > each.size}
    whole = [name for name, each in out.items() if each.all()]
    partly = [name for name in out if name not in whole]
    if out and len(out) == len(beyond):
        said = f"mostly {where}" if partly else f"{where} axis"
        yield f"{'median' if len(out) == 1 else 'all medians'} {said} {arrow}"
        return
    for names, said in ((whole, f"{where} axis"), (partly, f"mostly {where}")):
        if names:
            listed = ", ".join(literal(name, LONGEST - 2) for name in names)
            named = f"median{'s' if len(names) > 1 else ''} {said}: {listed} {arrow}"
            yield from textwrap.wrap(named, LONGEST)


STYLE: dict[str, Any] = {"linewidth": 0.8, "zorder": 3}
DASHED: dict[str, Any] = {**STYLE, "linestyle": (0, (4, 2))}
DOTTED: dict[str, Any] = {**STYLE, "linestyle": ":"}


def draw_target(axes: Iterable[Axes], targets: Iterable[float]) -> Line2D:
    """Draw ``target_kl`` across panels, NaN left out; returns a handle for the legend."""
    for ax in axes:
        for target in np.unique(list(targets)):
            if np.isfinite(target):
                ax.axhline(target, color=ink(), **DASHED)
    return Line2D([], [], color=ink(), **DASHED, label="target KL")


def draw_mark(axes: Iterable[Axes], window: int, token: int) -> Line2D:
    """Draw a dotted line at a token; returns a handle for the legend.

    Raises
    ------
    UsageError
        When the token is outside the window.
    """
    check_mark(window, token)
    for ax in axes:
        ax.axvline(token, color=ink(), **DOTTED)
    return Line2D([], [], color=ink(), **DOTTED, label=f"token {token}")


def check_mark(window: int, token: int) -> None:
    """Raise UsageError unless a token is within the window."""
    if not 0 <= token <= window:
        raise UsageError(f"mark_t={token}: give a token from 0 to {window}")
