"""Estimate of the calibrated coefficient, for a fraction of the cost of one evaluation.

The base model continues a few prompts by a few tokens, and the steered model reads these tokens at
many coefficients at once. KL along the base model's tokens differs from KL along the steered
model's, but meets the target at nearly the same coefficient.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from isoklx.engine.activations import residual_norms
from isoklx.engine.caches import at_rest
from isoklx.engine.calibration import statistic_of
from isoklx.engine.choices import Statistic
from isoklx.engine.loading import LoadedModel
from isoklx.engine.rollouts import roll_out
from isoklx.engine.steering import BASE, Steering, steered
from isoklx.engine.tokenised import Tokenised

TRIED = 2.0 ** np.arange(-4, 1.6, 0.5)
"""Coefficients to evaluate, in units of the norm of the states over that of the vector."""

PROMPTS, TOKENS = 12, 64
"""Maximum number of prompts, and of tokens by which each is continued."""


def calibration_start(
    loaded: LoadedModel,
    steering: Steering,
    tokenised: Tokenised,
    *,
    window: int,
    target_kl: float,
    statistic: Statistic,
) -> float:
    """Estimate the positive coefficient at which a statistic of KL meets the target."""
    prompts = tokenised.calib_prompts[:PROMPTS]
    layers = sorted(steering.vectors)
    norms = residual_norms(loaded.model, prompts, layers)
    size = float(
        np.median([norms[layer] / np.linalg.norm(steering.vectors[layer]) for layer in layers])
    )
    tried = size * TRIED
    base = roll_out(
        loaded.model,
        steering,
        prompts,
        [BASE] * len(prompts),
        window=min(window, TOKENS),
        forks=(),
        tails=[tokenised.tail],
        answers=tokenised.answers,
        eos_ids=tokenised.eos_ids,
        twins=False,
    )
    kl = _kl_along(loaded, steering, prompts, base.token_ids, tried)
    reached = np.array([max(statistic_of(each, statistic), 1e-12) for each in kl])
    # Take the last crossing: ablation has a KL above 0 even at coefficient 0.
    below = np.flatnonzero(reached < target_kl)
    if not below.size or below[-1] + 1 == tried.size:
        return size  # the target is outside the range tried
    ends = slice(below[-1], below[-1] + 2)
    guess = np.interp(np.log(target_kl), np.log(reached[ends]), np.log(tried[ends]))
    return float(np.exp(guess))


def _kl_along(
    loaded: LoadedModel,
    steering: Steering,
    prompts: Sequence[Sequence[int]],
    continuations: Sequence[Sequence[int]],
    coefficients: NDArray[np.floating],
) -> NDArray[np.float64]:
    """Return KL (coefficient, token) of the predictions of all continuation tokens."""
    rows = [*map(float, coefficients), BASE]
    names = inspect.signature(loaded.model.forward).parameters
    found = []
    with at_rest(loaded.model), steered(loaded.model, steering, rows):
        for prompt, tokens in zip(prompts, continuations, strict=True):
            ids = torch.tensor([[*prompt, *tokens]] * len(rows), device=loaded.model.device)
            last = len(tokens) + 1
            # With a large vocabulary the logits of whole prompts would take gigabytes.
            some = {"logits_to_keep": last} if "logits_to_keep" in names else {}
            logits = loaded.model(input_ids=ids, use_cache=False, **some).logits[:, -last:-1]
            base = logits[-1].float().log_softmax(-1)
            found.append(np.stack([_kl(row, base) for row in logits[:-1]]))
    return np.concatenate(found, axis=1)


def _kl(logits: torch.Tensor, base: torch.Tensor) -> NDArray[np.float64]:
    log_p = logits.float().log_softmax(-1)
    kl: NDArray[np.float64] = (log_p.exp() * (log_p - base)).sum(-1).cpu().numpy().astype(float)
    return kl
