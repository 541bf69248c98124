"""Limits of the KL axis, notes on what they cut off, ticks, and reference lines."""

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
    """Label the decades of an axis, and also 2 and 5 times them on a short axis."""
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 30 * low else (1,)))
    axis.set_major_formatter("{x:g}")
    # Minor ticks would take a third of the drawing time.
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
    """Choose forks at least `apart` axis widths from each other, with the first and the last."""
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
"""Nats; a logarithmic axis does not go lower, where KL is rounding error."""

MANY = 100_000
"""Values that suffice for the quantile that limits an axis."""

LINEAR_YMAX = 6.0
"""Nats; automatic upper limit of a linear axis."""

LONGEST = 24
"""Characters per line of a note, so that notes of adjacent panels do not overlap."""

HIGHEST = 1e30
"""Nats; ticks overflow on a much longer axis."""


@dataclass(frozen=True)
class Extent:
    """Range of the values in one panel; NaN in an empty panel."""

    low: float  # 2% quantile of the positive values
    high: float  # 98% quantile of all values
    highest: float
    peaks: Values = field(default_factory=lambda: np.empty(0))  # maximum of each single line
    medians: Mapping[str, Values] = field(default_factory=dict)  # by group, "" for a single group

    @classmethod
    def of(
        cls, lower: Values, upper: Values, *, median: Values, peaks: Values | None = None
    ) -> Extent:
        """Compute the extent of an area between two arrays and of its median, ignoring NaN."""
        highest = float(np.fmax.reduce(upper, axis=None, initial=-np.inf))
        few = max(1, upper.size // MANY)
        lower, upper, median = lower.ravel()[::few], upper.ravel()[::few], _without_nan(median)
        lower, upper = lower[lower > 0], _without_nan(upper)
        low = float(np.quantile(lower, 0.02)) if lower.size else np.nan
        high = float(np.quantile(upper, 0.98)) if upper.size else np.nan
        highest = highest if np.isfinite(highest) else np.nan
        peaks = np.empty(0) if peaks is None else _without_nan(peaks)
        return cls(low, high, highest, peaks, {"": median})

    @classmethod
    def of_lines(cls, lines: Values, median: Values) -> Extent:
        """Compute the extent of lines, one per row, and of their median."""
        return cls.of(lines, lines, median=median, peaks=np.fmax.reduce(lines, axis=1))

    @classmethod
    def of_all(cls, extents: Mapping[str, Extent]) -> Extent:
        """Combine the extents of groups that share a panel, by the names of the groups."""
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
        """Yield one line of text for each thing that lies outside two limits."""
        if self.highest > top:
            yield f"max {self.highest:.3g} {UP}"
        yield from _median_notes("above", {k: m > top for k, m in self.medians.items()}, UP)
        below = self.peaks < bottom
        if below.any():
            yield f"{below.sum()} of {below.size} below axis {DOWN}"
        yield from _median_notes("below", {k: m < bottom for k, m in self.medians.items()}, DOWN)


def check_ymax(ymax: float | Literal["auto"] | None) -> None:
    """Raise UsageError unless `ymax` is a valid upper limit."""
    if ymax not in ("auto", None) and not (isinstance(ymax, int | float) and 0 < ymax <= HIGHEST):
        raise UsageError(
            f"kl_ymax must be above 0 and at most {HIGHEST:g} nats, or 'auto', got {ymax!r}"
        )


def limit(
    extents: Mapping[Axes, Extent],
    *,
    ymax: float | Literal["auto"],
    log: bool,
    least: float,
    why_empty: str = "not run",
    floor: float = FLOOR,
) -> float:
    """Give all panels the same limits, note what lies beyond them, and return the lower limit.

    An automatic upper limit (``ymax="auto"``) includes `least` and 98% of the values of the fullest
    panel, or all of them if `log`. A logarithmic axis does not start below `floor`.
    """
    full = [extent for extent in extents.values() if not np.isnan(extent.highest)]
    if ymax == "auto":
        top = 1.15 * max([least, *(each.highest if log else each.high for each in full)])
    else:
        top = ymax
    lows = [extent.low for extent in full if not np.isnan(extent.low)]
    # A linear axis starts slightly below 0 so that it does not hide a line at 0.
    lowest = max(floor, min(lows, default=floor))
    bottom = _round_down(min(top / 10, lowest)) if log else -top / 60
    for ax, extent in extents.items():
        # Limits before scale: a logarithmic axis without positive data warns when it autoscales.
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
    """Round down to a number with a single digit 1, 2 or 5."""
    power = 10.0 ** np.floor(np.log10(value))
    digit = max(each for each in (1, 2, 5) if each * power <= value * (1 + 1e-9))
    return float(f"{digit * power:.1g}")


def _without_nan(values: Values) -> Values:
    known: Values = values[~np.isnan(values)]
    return known


def _median_notes(where: str, beyond: Mapping[str, Values], arrow: str) -> Iterator[str]:
    """Yield notes on medians that are out of sight at more than half of their positions."""
    out = {name: each for name, each in beyond.items() if 2 * each.sum() > each.size}
    whole = [name for name, each in out.items() if each.all()]
    partly = [name for name in out if name not in whole]
    if out and len(out) == len(beyond):
        position = f"mostly {where}" if partly else f"{where} axis"
        yield f"{'median' if len(out) == 1 else 'all medians'} {position} {arrow}"
        return
    for names, position in ((whole, f"{where} axis"), (partly, f"mostly {where}")):
        if names:
            listed = ", ".join(literal(name, LONGEST - 2) for name in names)
            named = f"median{'s' if len(names) > 1 else ''} {position}: {listed} {arrow}"
            yield from textwrap.wrap(named, LONGEST)


STYLE: dict[str, Any] = {"linewidth": 0.8, "zorder": 3}
DASHED: dict[str, Any] = {**STYLE, "linestyle": (0, (4, 2))}
DOTTED: dict[str, Any] = {**STYLE, "linestyle": ":"}


def draw_target(axes: Iterable[Axes], targets: Iterable[float]) -> Line2D:
    """Draw each finite ``target_kl`` across the panels; return a handle for the legend."""
    for ax in axes:
        for target in np.unique(list(targets)):
            if np.isfinite(target):
                ax.axhline(target, color=ink(), **DASHED)
    return Line2D([], [], color=ink(), **DASHED, label="target KL")


def draw_mark(axes: Iterable[Axes], window: int, token: int) -> Line2D:
    """Draw a dotted line at a token of the window; return a handle for the legend."""
    check_mark(window, token)
    for ax in axes:
        ax.axvline(token, color=ink(), **DOTTED)
    return Line2D([], [], color=ink(), **DOTTED, label=f"token {token}")


def check_mark(window: int, token: int) -> None:
    """Raise UsageError unless the token is within the window."""
    if not 0 <= token <= window:
        raise UsageError(f"mark_t must be between 0 and {window}, got {token}")
