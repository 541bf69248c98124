"""The statistical model of `isoklx.simulate`, whose docstring describes it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from isoklx.cells.summaries import Floats, float32, p95_over_prompts

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

LARGEST_KL = 20.0
DOSE_POWER = 1.5
TOKEN_SD, PROMPT_SD, AUTOCORRELATION = 1.2, 0.3, 0.5
FORCED_SHARE, FORCED_FACTOR = 0.2, 1e-6
# Standard normal quantile at 1 - 0.05 / (1 - FORCED_SHARE): forced tokens are never the large ones.
FREE_TOKEN_QUANTILE = 1.5341205443525463
COLLAPSED_KL, COLLAPSED_SD = 6.0, 0.4
ROUNDING = 5e-8
CALIBRATION_PROMPTS = 4


class Draws:
    """Independent random streams of a cell, one per purpose.

    `unit` is the latent coefficient at dose 1; `family` is shared by cells that differ only in seed
    and window.
    """

    def __init__(self, family: tuple[object, ...], seed: int, window: int) -> None:
        self._key = (*family, seed, window)
        centre = _stream(family).normal(math.log(2), 0.4)
        self.unit = math.exp(centre + _stream((*family, seed)).normal(0, 0.05))

    def __call__(self, *purpose: object) -> np.random.Generator:
        """Return a fresh generator for `purpose`, always in the same state."""
        return _stream((*self._key, *purpose))


class Rollouts:
    """Simulated rollouts at one alpha, one row per prompt or question."""

    def __init__(
        self,
        draws: Draws,
        kind: str,
        alpha: float,
        coeff: float,
        *,
        count: int,
        window: int,
        target_kl: float,
        ends_early: float,
    ) -> None:
        self._kl_draws = partial(draws, kind, alpha, "kl")
        self._pmass_draws = partial(draws, kind, alpha, "pmass")
        self._dose, self._window, self._target_kl = abs(coeff) / draws.unit, window, target_kl
        self._effect = draws(kind, "effect").standard_normal((count, 1))
        self._answer = 1 - np.arange(count)[:, np.newaxis] % 2
        self._draw_events(draws(kind, alpha, "fate"), ends_early)

    def _draw_events(self, rng: np.random.Generator, ends_early: float) -> None:
        window, shape = self._window, self._effect.shape
        collapse_rate = (self._dose / 2.3) ** 8
        end_rate = -math.log1p(-ends_early)
        waits = rng.standard_exponential((3, *shape))
        recovers = rng.random(shape) < 0.5 / (1 + collapse_rate)
        with np.errstate(divide="ignore", over="ignore"):
            collapse = np.floor(waits[0] * window / collapse_rate)
            end = 1 + np.floor(waits[1] * window / end_rate)
        recovery = np.where(recovers, collapse + 1 + np.floor(waits[2] * window / 4), np.inf)
        collapsed_at_end = (collapse < end) & (end <= recovery)
        self._collapse, self._recovery = collapse, recovery
        self._end = np.where(collapsed_at_end, window, np.minimum(end, window)).astype(np.int64)
        self.gen_len = self._end[:, 0]  # tokens, 1 to window

    def _collapsed(self, token: Ints) -> Bools:
        collapsed: Bools = (token >= self._collapse) & (token < self._recovery)
        return collapsed

    @property
    def collapsed(self) -> Bools:
        """Collapsed tokens (count, window); undefined from `gen_len` on."""
        return self._collapsed(np.arange(self._window))

    @property
    def answers(self) -> list[bool]:
        """Right answer to each question."""
        return [bool(answer) for answer in self._answer[:, 0]]

    def kl(self) -> Floats:
        """Return KL (count, window), NaN from `gen_len` on."""
        token = np.arange(self._window)
        if self._dose == 0:
            kl = np.zeros((self.gen_len.size, self._window))
        else:
            kl = self._steered_kl(self._kl_draws(), self._collapsed(token))
        return float32(np.where(token < self._end, kl, np.nan))

    def _steered_kl(self, rng: np.random.Generator, collapsed: Bools) -> Floats:
        noise = _ar1(rng.standard_normal(collapsed.shape))
        p95_of_free = FREE_TOKEN_QUANTILE * math.hypot(TOKEN_SD, PROMPT_SD)
        alive = np.exp(TOKEN_SD * noise + PROMPT_SD * self._effect - p95_of_free)
        alive *= self._dose**DOSE_POWER
        alive[rng.random(alive.shape) < FORCED_SHARE] *= FORCED_FACTOR
        dead = COLLAPSED_KL * np.exp(COLLAPSED_SD * noise)
        kl = _saturate(self._target_kl * np.where(collapsed, dead, alive))
        return kl + ROUNDING * rng.standard_normal(kl.shape)

    def at_forks(self, fork_points: list[int]) -> dict[str, list[list[Any]]]:
        """Return pmass.json's values at forks (count, fork): NaN and "" after `gen_len`."""
        rng = self._pmass_draws()
        fork = np.array(fork_points, dtype=np.int64)
        noise, lean = rng.standard_normal((2, self.gen_len.size, fork.size))
        alive = 5.5 - 0.6 * self._dose + 0.5 * self._effect + 0.3 * noise
        age = np.where(self._collapsed(fork), fork - self._collapse, 0)
        depth = -np.expm1(-32 * age / self._window)
        observed = fork <= self._end
        pmass = np.where(observed, _logistic(alive * (1 - depth) - 3 * depth), np.nan)
        share = _logistic(np.where(self._answer, 2, -2) + lean)
        return {
            "pmass": float32(pmass).tolist(),
            "p_true": float32(np.where(observed, share, np.nan)).tolist(),
            "argmax_str": np.where(observed, np.where(share > 0.5, "1", "0"), "").tolist(),
            "was_thinking": (fork < self._end).tolist(),
            "answer_label": np.broadcast_to(self._answer, observed.shape).tolist(),
        }


def calibrate(
    draws: Draws, window: int, target_kl: float, *, sign: float = 1.0
) -> list[dict[str, Any]]:
    """Return the steps of history.json; the ``coeff`` of the last one is c_star."""
    noise = _ar1(draws("calibration").standard_normal((CALIBRATION_PROMPTS, window)))
    field = np.exp(TOKEN_SD * noise)
    field *= target_kl / np.quantile(field, 0.95)
    coeff, bracketed = 0.4, False
    history: list[dict[str, Any]] = []
    while True:
        history.append(_trial(coeff, field * (coeff / draws.unit) ** DOSE_POWER))
        ratio = target_kl / history[-1]["kl_p95"]
        if abs(ratio - 1) < 0.02:
            return [step | {"coeff": sign * step["coeff"], "sign": sign} for step in history]
        # Double until the target is bracketed; then correct by the power law.
        bracketed = bracketed or ratio < 1
        factor = ratio ** (1 / DOSE_POWER) if bracketed else 2.0
        # Seven digits, so that rounding in maths libraries does not change the file.
        coeff = float(f"{coeff * factor:.7g}")


def _trial(coeff: float, unsaturated_kl: Floats) -> dict[str, Any]:
    kl = float32(_saturate(unsaturated_kl))
    p50, p90, p95 = float32(np.quantile(kl, [0.5, 0.9, 0.95])).tolist()
    return {
        "coeff": coeff,
        "coeff_abs": abs(coeff),
        "sign": 1.0,
        "kl_mean": float32(kl.mean()).item(),
        "kl_p50": p50,
        "kl_p90": p90,
        "kl_p95": p95,
        "kl_max": kl.max().item(),
        "n_pos": kl.size,
        "per_t_mean": float32(kl.mean(axis=0)).tolist(),
        "per_t_p95": p95_over_prompts(kl).tolist(),
        "per_t_max": kl.max(axis=0).tolist(),
    }


def _stream(key: tuple[object, ...]) -> np.random.Generator:
    return np.random.default_rng(list(hashlib.sha256(repr(key).encode()).digest()))


def _ar1(noise: Floats) -> Floats:
    """Return a unit-variance AR(1) along the last axis: the sum of r**k L**k, by doubling."""
    series = noise * math.sqrt(1 - AUTOCORRELATION**2)
    series[..., 0] = noise[..., 0]
    lag = 1
    while lag < series.shape[-1]:
        series[..., lag:] += AUTOCORRELATION**lag * series[..., :-lag].copy()
        lag *= 2
    return series


def _saturate(kl: Floats) -> Floats:
    return kl / (1 + kl / LARGEST_KL)


def _logistic(logit: Floats) -> Floats:
    return 1 / (1 + np.exp(-logit))


OPENINGS = (
    *("Is the sky blue", "Does ice float", "Can a whale breathe air", "Is lead lighter than water"),
    *("Do plants need light", "Is glass a liquid", "Does sound cross a vacuum", "Is zero even"),
)
SUBJECTS = ("The answer", "Most evidence", "This claim", "A careful reader", "One reason")
VERBS = (" depends on", " points to", " follows from", " rests upon", " is close to")
OBJECTS = (" what we measure", " the scale", " simple physics", " older results", " a definition")
ENDS = (".", ", and so it holds.", "; in short, yes.", ", though not always.")
COLLAPSED_WORDS = (" the", " and", " really", " \N{EM DASH}", " so")


def prompt_text(index: int) -> str:
    """Return the text of a held-out prompt."""
    return f"{OPENINGS[index % len(OPENINGS)]}? Give your reasons, then answer."


def rollout_tokens(draws: Draws, alpha: float, prompt: int, collapsed: Bools) -> list[str]:
    """Return the tokens of a rollout, which repeats one token while collapsed."""
    rng = draws("text", alpha, prompt)
    repeated = COLLAPSED_WORDS[rng.integers(len(COLLAPSED_WORDS))]
    words = _words(rng)
    return [repeated if dead else next(words) for dead in collapsed.tolist()]


def generations(
    draws: Draws, alpha: float, coeff: float, gen_len: Ints, collapsed: Bools
) -> Iterator[dict[str, Any]]:
    """Yield a dose's lines of gens.jsonl, as the engine writes them but without token ids."""
    for prompt, length in enumerate(gen_len.tolist()):
        tokens = rollout_tokens(draws, alpha, prompt, collapsed[prompt, :length])
        yield {
            "kind": "eval",
            "alpha": alpha,
            "coeff": coeff,
            "prompt_idx": prompt,
            "prompt": prompt_text(prompt),
            "tokens": tokens,
            "gen_text": "".join(tokens),
            "gen_len": length,
        }


def _words(rng: np.random.Generator) -> Iterator[str]:
    """Yield the words of endless sentences."""
    between = ""
    while True:
        sentence = "".join(
            options[rng.integers(len(options))] for options in (SUBJECTS, VERBS, OBJECTS, ENDS)
        )
        first, *rest = sentence.split(" ")
        yield between + first
        yield from (f" {word}" for word in rest)
        between = " "
