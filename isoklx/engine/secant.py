"""Where to try next: a secant in log coefficient and log measure, safeguarded by a bracket."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SLOPE = 2.0
"""d log KL / d log c while KL is small: twice the coefficient has four times the KL."""

SLOPES = (1.2, 3.0)
"""What two measures below the target may make of it, noise or no noise."""

SLOPE_ABOVE = 0.7
"""The same above the target, where KL saturates."""

FLAT = 0.5
"""A slope below the target that says that KL hardly grows any more."""

GROWTH = 1.5
"""Of a step over the one before, where slopes say nothing."""

SHORTEST, LONGEST = math.log(1.1), math.log(100)
"""Steps in log c."""

FARTHEST = math.log(1e30)
"""Where looking for a coefficient ends, in log c, either way."""

ROUNDING = 1e-7
"""KL in nats below which a measure is rounding."""

STEEP = math.log(3)
"""Measures farther above the target than that do not pull an interpolation more."""

WIDE = 0.8
"""Width of a bracket in log c from which on no straight line joins its ends."""

NARROWEST = 1e-3
"""Width in log c of a bracket in which nothing is left to be tried."""

EDGE = 0.05
"""Share of a bracket at either end where nothing is tried: that would hardly narrow it."""

SPACING = math.log(8)
"""Between the coefficients of a first round of several, in log c."""

TILE = 0.04
"""Of a bracket's width, between the coefficients of a round of several in it."""

DIGITS = 7
"""Of a coefficient, so that no maths library's last bit decides what is measured."""


@dataclass
class Search:
    """A search for the coefficient, above 0, at which a measure meets its target.

    Parameters
    ----------
    target : float
        Above 0.
    tolerance : float
        Largest ``|measure / target - 1|`` of a result.
    first : float
        Coefficient that is tried first.
    low, high : float
        Ends of the bracket, in log; moved outwards when the target lies beyond.
    """

    target: float
    tolerance: float
    first: float
    low: float
    high: float
    tried: list[float] = field(default_factory=list)
    y: list[float] = field(default_factory=list)
    """Log of measure over target; infinity where the measure was no number."""

    def take(self, coefficient: float, value: float) -> None:
        """Note what was measured at a coefficient."""
        self.tried.append(coefficient)
        self.y.append(self._log_ratio(value))

    def distance(self, value: float) -> float:
        """How far a measure is from the target, in log."""
        return abs(self._log_ratio(value))

    @property
    def best(self) -> int | None:
        """Index of the measure nearest to the target, of several the smallest coefficient's.

        None where no measure is finite.
        """
        order = np.argsort(self.tried)
        distance = np.abs(self.y)[order]
        return int(order[distance.argmin()]) if np.isfinite(distance).any() else None

    @property
    def converged(self) -> bool:
        """Whether the best measure meets the target."""
        return self.best is not None and abs(math.exp(self.y[self.best]) - 1) <= self.tolerance

    @property
    def exhausted(self) -> bool:
        """Whether there is nothing left to look in."""
        x, _, above = self.ascending()
        beyond = np.abs(x).max(initial=0) >= FARTHEST
        return bool(beyond or (0 < above < x.size and x[above] - x[above - 1] < NARROWEST))

    def ascending(self) -> tuple[Floats, Floats, int]:
        """Log c and log ratio of what was tried, by c, and the index of the first one above."""
        order = np.argsort(self.tried)
        y = np.array(self.y)[order]
        above = np.flatnonzero(y > 0)
        return np.log(self.tried)[order], y, int(above[0]) if above.size else y.size

    def proposals(self, k: int) -> list[float]:
        """The next `k` coefficients to try, ascending; none of them was tried before."""
        if not self.tried and k == 1:
            return [self.first]
        x, y, above = self.ascending()
        if not x.size:
            middle, reach = math.log(self.first), SPACING * (k - 1) / 2
            ends = (middle - reach, middle + reach)
        elif above == 0:
            ends = self._downwards(x, y, 0.6 * (k > 1))
        elif above == x.size:
            ends = self._upwards(x, y, 0.3 * (k > 1))
        else:
            ends = self._inside(x, y, above, k)
        return [float(f"{math.exp(each):.{DIGITS}g}") for each in np.linspace(*ends, k)]

    def _log_ratio(self, value: float) -> float:
        # No token at all: the model is broken, and the coefficient too large.
        return math.log((math.inf if math.isnan(value) else max(value, ROUNDING)) / self.target)

    def _downwards(self, x: Floats, y: Floats, reach: float) -> tuple[float, float]:
        """All are above: long steps, for slopes say little where KL saturates."""
        step = y[0] / SLOPE_ABOVE
        if x.size > 1:
            step = max(step, GROWTH * (x[1] - x[0]))
        step = min(max(step, SHORTEST), LONGEST)
        if x[0] < self.low + NARROWEST:
            self.low = x[0] - LONGEST
        far = max(x[0] - step * (1 + reach), self.low)
        return far, x[0] - (x[0] - far) * (1 - reach) / (1 + reach)

    def _upwards(self, x: Floats, y: Floats, reach: float) -> tuple[float, float]:
        """All are below: as far as the slope says, and farther where KL hardly grows."""
        slope, step = SLOPE, 0.0
        if x.size > 1:
            slope = (y[-1] - y[-2]) / (x[-1] - x[-2])
            step = GROWTH * (x[-1] - x[-2]) * (slope < FLAT)
        step = min(max(step, -y[-1] / _plausible(slope)), LONGEST)
        if x[-1] > self.high - NARROWEST:
            self.high = x[-1] + LONGEST
        far = min(x[-1] + step * (1 + reach), self.high)
        return x[-1] + (far - x[-1]) * (1 - reach) / (1 + reach), far

    def _inside(self, x: Floats, y: Floats, above: int, k: int) -> tuple[float, float]:
        """Between the two neighbours on either side of the target."""
        a, b = above - 1, above
        width = x[b] - x[a]
        y_a, y_b = y[a], min(y[b], STEEP)
        if width <= WIDE and k == 1:
            y_a, y_b = self._halved(y_a, y_b)
        share = y_a / (y_a - y_b)
        if width > WIDE:
            slope = (y[a] - y[a - 1]) / (x[a] - x[a - 1]) if a else SLOPE
            along = -y_a / _plausible(slope) / width
            share = along if along < 0.7 else (share + min(along, 1)) / 2
        share = min(max(share, EDGE), 1 - EDGE)
        # Side by side where each covers what the tolerance spans, farther apart in a wide bracket.
        tiles = self.tolerance / max(y_b - y_a, self.tolerance)
        reach = max(1.5 * tiles, TILE) * (k - 1) / 2
        near, far = max(share - reach, EDGE / 2), min(share + reach, 1 - EDGE / 2)
        return x[a] + near * width, x[a] + far * width

    def _halved(self, y_a: float, y_b: float) -> tuple[float, float]:
        """The Illinois rule: an end that has stayed while the other moved counts half."""
        if len(self.y) > 1 and (self.y[-1] > 0) == (self.y[-2] > 0):
            return (y_a / 2, y_b) if self.y[-1] > 0 else (y_a, y_b / 2)
        return y_a, y_b


def _plausible(slope: float) -> float:
    return min(max(slope, SLOPES[0]), SLOPES[1])
