"""Responses of KL to a coefficient, as measured sweeps show them and worse."""

import math

import numpy as np

from isoklx.engine.calibration import statistic_of

ROLLOUTS, TOKENS = 4, 96


class Response:
    """A model whose KL grows like c squared, breaks down, saturates, and is rough.

    Before saturation, every token's KL is a lognormal draw (sd 1.5 in log) times (c / unit)**power
    with a power of 1.6 to 2.3; from a breakdown at 1.1 to 6 times c_star on, 1.5 to 6 times as
    much. It saturates at 6 to 20 nats. Each evaluation is off by a factor of its own (sd 0.3% to
    3%), each token by rounding. Some rollouts end early.
    """

    def __init__(self, seed: int, *, start=1.0, far=100.0, target=1.0, statistic="p95") -> None:
        rng = self.rng = np.random.default_rng([2021, seed])
        self.c_star = start * far ** rng.uniform(-1, 1)
        self.power = rng.uniform(1.6, 2.3)
        self.cap = math.exp(rng.uniform(math.log(6), math.log(20)))
        self.breakdown = self.c_star * math.exp(rng.uniform(math.log(1.1), math.log(6)))
        self.height = math.exp(rng.uniform(math.log(1.5), math.log(6)))
        self.width = rng.uniform(0.02, 0.15)
        self.noise = math.exp(rng.uniform(math.log(0.003), math.log(0.03)))
        self.tokens = np.exp(rng.normal(0, 1.5, (ROLLOUTS, TOKENS)))
        lengths = rng.integers(TOKENS // 4, 2 * TOKENS, (ROLLOUTS, 1))
        self.tokens[np.arange(TOKENS) >= lengths] = np.nan
        self.calls = 0
        self.unit = 1.0
        self.unit = _root(
            lambda unit: statistic_of(self.exact(self.c_star, unit), statistic), target
        )

    def exact(self, c: float, unit: float) -> np.ndarray:
        broken = (1 + math.tanh(math.log(c / self.breakdown) / self.width)) / 2
        kl = self.tokens * (c / unit) ** self.power * (1 + (self.height - 1) * broken)
        return kl / (1 + kl / self.cap)

    def __call__(self, coeff: float) -> np.ndarray:
        self.calls += 1
        rough = math.exp(self.noise * self.rng.standard_normal() / self.power)
        kl = self.exact(abs(coeff), self.unit / rough)
        return (kl + 5e-8 * self.rng.standard_normal(kl.shape)).astype(np.float32)

    def together(self, coefficients: list[float]) -> list[np.ndarray]:
        self.calls += 1
        return [self(coeff) for coeff in coefficients]


def _root(falling, target: float) -> float:
    low, high = 1e-15, 1e15
    for _ in range(50):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if falling(middle) > target else (low, middle)
    return low
