"""Secant search in log coefficient and log KL statistic, safeguarded by a bracket."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SLOPE = 2.0
"""d log KL / d log c while KL is small: KL grows like the square of the coefficient."""

SLOPES = (1.2, 3.0)
"""Smallest and largest slope below the target that an extrapolation uses; beyond lies noise."""

SLOPE_ABOVE = 0.7
"""Slope assumed above the target, where KL saturates."""

FLAT = 0.5
"""Slope below the target under which KL counts as hardly growing."""

GROWTH = 1.5
"""Ratio of a step to the previous one where slopes are uninformative."""

SHORTEST, LONGEST = math.log(1.1), math.log(100)
"""Limits of a step, in log c."""

FARTHEST = math.log(1e30)
"""Largest absolute log c that is searched."""

ROUNDING = 1e-7
"""KL in nats below which a measurement is rounding."""

STEEP = math.log(3)
"""Log ratio to the target at which measurements are clipped in an interpolation."""

WIDE = 0.8
"""Width of a bracket, in log c, above which its ends are not joined by a straight line."""

NARROWEST = 1e-3
"""Width of a bracket, in log c, below which the search stops."""

EDGE = 0.05
"""Fraction of a bracket at either end where no point is tried: it would hardly narrow it."""

SPACING = math.log(8)
"""Spacing of the coefficients of a first round of several, in log c."""

TILE = 0.04
"""Smallest spacing of the coefficients of a round within a bracket, as a fraction of its width."""

DIGITS = 7
"""Significant digits of a coefficient, so that results do not depend on the maths library."""


@dataclass
class Search:
    """Search for the positive coefficient at which a statistic of KL meets its target."""

    target: float
    # Largest abs(statistic / target - 1) of a result.
    tolerance: float
    first: float
    # Ends of the bracket, in log; moved outwards when the target lies beyond.
    low: float
    high: float
    tried: list[float] = field(default_factory=list)
    y: list[float] = field(default_factory=list)
    """Log of statistic over target; infinity where the statistic was NaN."""

    def take(self, coefficient: float, value: float) -> None:
        """Record the statistic at a coefficient."""
        self.tried.append(coefficient)
        self.y.append(self._log_ratio(value))

    def distance(self, value: float) -> float:
        """Return the distance of a statistic from the target, in log."""
        return abs(self._log_ratio(value))

    @property
    def best(self) -> int | None:
        """Index of the statistic nearest to the target (of the smallest coefficient), or None."""
        order = np.argsort(self.tried)
        distance = np.abs(self.y)[order]
        return int(order[distance.argmin()]) if np.isfinite(distance).any() else None

    @property
    def converged(self) -> bool:
        """True if the best statistic is within the tolerance of the target."""
        return self.best is not None and abs(math.exp(self.y[self.best]) - 1) <= self.tolerance

    @property
    def exhausted(self) -> bool:
        """True if the bracket is as narrow, or the coefficient as extreme, as is searched."""
        x, _, above = self.ascending()
        beyond = np.abs(x).max(initial=0) >= FARTHEST
        return bool(beyond or (0 < above < x.size and x[above] - x[above - 1] < NARROWEST))

    def ascending(self) -> tuple[Floats, Floats, int]:
        """Return log c and log ratio by ascending c, and the index of the first ratio above 0."""
        order = np.argsort(self.tried)
        y = np.array(self.y)[order]
        above = np.flatnonzero(y > 0)
        return np.log(self.tried)[order], y, int(above[0]) if above.size else y.size

    def proposals(self, k: int) -> list[float]:
        """Return the next `k` untried coefficients, ascending."""
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
        # NaN means no tokens: the model broke down, so the coefficient is too large.
        return math.log((math.inf if math.isnan(value) else max(value, ROUNDING)) / self.target)

    def _downwards(self, x: Floats, y: Floats, reach: float) -> tuple[float, float]:
        """Return the next range when all are above the target: long steps, as KL saturates."""
        step = y[0] / SLOPE_ABOVE
        if x.size > 1:
            step = max(step, GROWTH * (x[1] - x[0]))
        step = min(max(step, SHORTEST), LONGEST)
        if x[0] < self.low + NARROWEST:
            self.low = x[0] - LONGEST
        far = max(x[0] - step * (1 + reach), self.low)
        return far, x[0] - (x[0] - far) * (1 - reach) / (1 + reach)

    def _upwards(self, x: Floats, y: Floats, reach: float) -> tuple[float, float]:
        """Return the next range when all are below the target, from the slope of the last two."""
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
        """Return the next range between the neighbours on either side of the target."""
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
        # Adjacent points where each covers the tolerance, spread out in a wide bracket.
        tiles = self.tolerance / max(y_b - y_a, self.tolerance)
        reach = max(1.5 * tiles, TILE) * (k - 1) / 2
        near, far = max(share - reach, EDGE / 2), min(share + reach, 1 - EDGE / 2)
        return x[a] + near * width, x[a] + far * width

    def _halved(self, y_a: float, y_b: float) -> tuple[float, float]:
        """Apply the Illinois rule: halve the end that stayed while the other moved."""
        if len(self.y) > 1 and (self.y[-1] > 0) == (self.y[-2] > 0):
            return (y_a / 2, y_b) if self.y[-1] > 0 else (y_a, y_b / 2)
        return y_a, y_b


def _plausible(slope: float) -> float:
    return min(max(slope, SLOPES[0]), SLOPES[1])
