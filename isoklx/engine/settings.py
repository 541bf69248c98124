"""Settings that decide the numbers of a cell, checked before a model is loaded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from isoklx.engine.choices import Dtype, Forks, Statistic, Token
from isoklx.errors import UsageError

LOG_FORKS = 13
"""Number of log-spaced forks after the one at token 0."""


@dataclass(frozen=True)
class Settings:
    """All settings that decide a cell's numbers, besides its model, method, seed and sign."""

    pairs: Path | None = None  # None: the package's own file; the same for the next three
    prompts: Path | None = None
    calib_prompts: Path | None = None
    questions: Path | None = None
    ask: bool = True  # whether questions are asked
    vector: Path | None = None  # file of the direction; pairs are then not read
    layer: tuple[float, ...] | None = None  # block numbers from 0, or fractions of the depth
    token: Token = "content"
    window: int = 256  # maximum number of generated tokens
    alphas: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0, 4.0)  # doses in units of c_star
    forks: Forks = "log"
    target_kl: float = 1.0  # nats
    statistic: Statistic = "p95"
    temperature: float = 0.0  # 0 decodes greedily
    dtype: Dtype = "auto"
    device: str = "auto"
    batch: int | None = None  # rollouts per batch; None: as many as fit into memory

    def __post_init__(self) -> None:
        for name in ("window", "batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} must be at least 1, got {value}")
        for name, known in (("statistic", Statistic), ("token", Token), ("dtype", Dtype)):
            if getattr(self, name) not in get_args(known):
                raise UsageError(
                    f"{name} must be {_join_choices(known)}, got {getattr(self, name)!r}"
                )
        if not (math.isfinite(self.target_kl) and self.target_kl > 0):
            raise UsageError(f"target_kl must be above 0 nats, got {self.target_kl:g}")
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise UsageError(f"temperature must be 0 or more, got {self.temperature:g}")
        if self.pairs is not None and self.vector is not None:
            raise UsageError(
                "pairs must not be given with vector: no direction is sought; omit one of them"
            )
        if self.questions is not None and not self.ask:
            raise UsageError("questions must not be given with noquestions; omit one of them")
        _refuse_alphas(self.alphas)
        fork_points(self.forks, self.window)


def fork_points(forks: Forks, window: int) -> tuple[int, ...]:
    """Return the tokens of the forks, ascending: log-spaced, every n-th from 0, or as given."""
    if forks == "log":
        import numpy as np  # imported late, so that the command line starts fast

        spaced = np.rint(np.geomspace(1, window, LOG_FORKS)).astype(int)
        return (0, *np.unique(spaced).tolist())
    if isinstance(forks, int):
        if forks < 1:
            raise UsageError(
                f"forks must be log, a step of at least 1, or a list of tokens, got {forks}"
            )
        if forks > window:
            raise UsageError(f"forks must be at most the window of {window} tokens, got {forks}")
        return tuple(range(0, window + 1, forks))
    points = tuple(forks)
    if not points:
        raise UsageError("forks must name at least one token, got none")
    for point in points:
        if not 0 <= point <= window:
            raise UsageError(f"fork must be within the window, 0 to {window} tokens, got {point}")
        if points.count(point) > 1:
            raise UsageError(f"fork {point} is given twice")
    return tuple(sorted(points))


def _refuse_alphas(alphas: Sequence[float]) -> None:
    from isoklx.schema import same_dose  # imported late, as it imports numpy

    if not alphas:
        raise UsageError("alphas must name at least one dose, got none")
    for place, alpha in enumerate(alphas):
        if not math.isfinite(alpha):
            raise UsageError(f"alpha must be finite, got {alpha}")
        for other in alphas[:place]:
            if same_dose(alpha, other):
                raise UsageError(
                    f"alphas {other:g} and {alpha:g} are the same dose; give one of them"
                )


def _join_choices(literal: object) -> str:
    return " or ".join(map(repr, get_args(literal)))
