"""What decides the numbers of a cell, checked before a model is touched."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from isoklx.engine.choices import Dtype, Forks, Statistic, Token
from isoklx.errors import UsageError

LOG_FORKS = 13
"""Forks after the one at token 0 that ``log`` spreads over the window."""


@dataclass(frozen=True)
class Settings:
    """All that decides a cell's numbers besides its model, method, seed and sign.

    Parameters
    ----------
    pairs, prompts, calib_prompts, questions : Path, optional
        Files as `isoklx.engine.inputs` reads them; those of the package where None. No question
        is asked where `ask` is False.
    ask : bool
        Whether the questions are asked.
    vector : Path, optional
        A file with the direction; the pairs are then not read.
    layer : tuple of float, optional
        Blocks that are steered: numbers from 0, or fractions of the depth. By default the one at
        0.6 of the depth, and those of a vector file.
    token : {"content", "last"}
        Where in an answer a direction is read: at its last content token, or at the last token of
        its turn.
    window : int
        Generated tokens at most.
    alphas : tuple of float
        Doses, in units of ``c_star``.
    forks : "log", int or tuple of int
        Tokens at which a rollout is asked: log-spaced, every so many, or these.
    target_kl : float
        Nats.
    statistic : {"p95", "rms", "mean"}
        What of KL per token is brought to the target.
    temperature : float
        0 decodes greedily.
    dtype : {"auto", "float32", "bfloat16", "float16"}
        Precision of the model; by default float32 on a CPU, else the model's own.
    device : str
        As torch names it; by default a GPU where there is one.
    batch : int, optional
        Rollouts at a time; by default as many as fit in memory.

    Raises
    ------
    UsageError
        For a value that no cell can be made with.
    """

    pairs: Path | None = None
    prompts: Path | None = None
    calib_prompts: Path | None = None
    questions: Path | None = None
    ask: bool = True
    vector: Path | None = None
    layer: tuple[float, ...] | None = None
    token: Token = "content"
    window: int = 256
    alphas: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0, 4.0)
    forks: Forks = "log"
    target_kl: float = 1.0
    statistic: Statistic = "p95"
    temperature: float = 0.0
    dtype: Dtype = "auto"
    device: str = "auto"
    batch: int | None = None

    def __post_init__(self) -> None:
        for name in ("window", "batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} is {value}; give at least 1")
        for name, known in (("statistic", Statistic), ("token", Token), ("dtype", Dtype)):
            if getattr(self, name) not in get_args(known):
                raise UsageError(f"{name} is {getattr(self, name)!r}; give {_one_of(known)}")
        if not (math.isfinite(self.target_kl) and self.target_kl > 0):
            raise UsageError(f"target_kl is {self.target_kl:g}; give nats above 0")
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise UsageError(f"temperature is {self.temperature:g}; give 0 or more")
        if self.pairs is not None and self.vector is not None:
            raise UsageError("a vector from a file needs no pairs; give one of both")
        if self.questions is not None and not self.ask:
            raise UsageError("questions are named, and are not to be asked; leave one of both out")
        _refuse_alphas(self.alphas)
        fork_points(self.forks, self.window)


def fork_points(forks: Forks, window: int) -> tuple[int, ...]:
    """The tokens at which rollouts are asked.

    Parameters
    ----------
    forks : "log", int or tuple of int
        ``"log"``: 0, then 13 spaced evenly in log from 1 to the window, fewer where they
        fall on the same token. A number n: every n tokens from 0. Several: these.
    window : int
        Generated tokens at most.

    Returns
    -------
    tuple of int
        Ascending, each from 0 to the window.

    Raises
    ------
    UsageError
        When there is none, or one lies outside of the window or is named twice.

    Examples
    --------
    >>> fork_points("log", 512)
    (0, 1, 2, 3, 5, 8, 13, 23, 38, 64, 108, 181, 304, 512)
    >>> fork_points(32, 100)
    (0, 32, 64, 96)
    """
    if forks == "log":
        import numpy as np  # late, for the command line shall start at once

        spaced = np.rint(np.geomspace(1, window, LOG_FORKS)).astype(int)
        return (0, *np.unique(spaced).tolist())
    if isinstance(forks, int):
        if forks < 1:
            raise UsageError(f"forks is {forks}; give log, every how many tokens, or several")
        if forks > window:
            raise UsageError(
                f"forks is {forks}, and the window {window} tokens; give {window} or less"
            )
        return tuple(range(0, window + 1, forks))
    points = tuple(forks)
    if not points:
        raise UsageError("no fork was given")
    for point in points:
        if not 0 <= point <= window:
            raise UsageError(f"fork {point} is outside of the window, 0 to {window} tokens")
        if points.count(point) > 1:
            raise UsageError(f"fork {point} is given twice")
    return tuple(sorted(points))


def _refuse_alphas(alphas: Sequence[float]) -> None:
    from isoklx.schema import same_dose  # late, for it brings numpy

    if not alphas:
        raise UsageError("no alpha was given")
    for place, alpha in enumerate(alphas):
        if not math.isfinite(alpha):
            raise UsageError(f"alpha is {alpha}; give finite doses")
        for other in alphas[:place]:
            if same_dose(alpha, other):
                raise UsageError(f"alphas {other:g} and {alpha:g} are the same dose; give it once")


def _one_of(literal: object) -> str:
    return " or ".join(map(repr, get_args(literal)))
