"""Self-tests before measuring: alternative ways of computing a number must agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from isoklx.engine.caches import at_rest
from isoklx.engine.chat import AnswerIds
from isoklx.engine.rollouts import Rollouts, roll_out
from isoklx.engine.steering import Steering, steered
from isoklx.errors import MeasureError

WINDOW = 6
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-4, torch.float16: 2e-2}
"""Largest difference of a probability, and of a KL relative to 1 + KL; else 0.1."""

NOTHING = 1e-6
"""Largest KL between two distributions that differ by rounding only, in float32."""


@dataclass(frozen=True)
class SelfTests:
    """Largest differences found by the self-tests."""

    batch: float  # between a row of a batch and the same row alone
    fork: float  # between the rollout loop and forwards without a cache
    zero: float | None  # KL at coefficient 0; None for ablation
    padded: bool  # prompts of different lengths may share a batch


def self_test(
    model: PreTrainedModel,
    steering: Steering,
    prompts: Sequence[Sequence[int]],
    coefficient: float,
    tail: Sequence[int],
) -> SelfTests:
    """Measure a few tokens in several ways, and raise MeasureError if the results disagree."""
    # Halves of the vocabulary as answers: a wrong state shifts mass between them in any text.
    size = model.config.get_text_config().vocab_size
    halves = AnswerIds(tuple(range(0, size, 2)), tuple(range(1, size, 2)))

    def roll(prompts: Sequence[Sequence[int]], coefficients: Sequence[float]) -> Rollouts:
        return roll_out(
            model,
            steering,
            prompts,
            coefficients,
            window=WINDOW,
            forks=range(WINDOW + 1),
            tails=[tail],
            answers=halves,
            eos_ids=(),
        )

    tolerance = TOLERANCE.get(model.dtype, 0.1)
    short, long = (pick(prompts, key=len) for pick in (min, max))
    # A different prompt of equal length.
    cut = long[-len(short) :]
    alone = roll([short], [coefficient])
    fork = _fork_difference(model, steering, short, coefficient, tail, alone, halves)
    _check(fork, tolerance, "rollouts with a cache differ from a recomputation without one")
    moved = float(_kl(alone).max())
    if moved <= NOTHING:
        raise MeasureError(
            f"self-test failed: steering changes nothing: the largest KL at coefficient "
            f"{coefficient:g} is {moved:.2g}"
        )
    together = roll([short, cut, short], [coefficient, -coefficient, 0.0])
    batch = _difference(alone, together)
    _check(batch, tolerance, "a row of a batch differs from the same row alone")
    zero = None
    if steering.action == "add":
        zero = float(_kl(together)[2].max())
        _check(
            zero,
            NOTHING if model.dtype == torch.float32 else tolerance,
            "a coefficient of 0 changes the model",
        )
    padded = _difference(alone, roll([short, long], [coefficient] * 2)) <= tolerance
    return SelfTests(batch, fork, zero, padded)


def _fork_difference(
    model: PreTrainedModel,
    steering: Steering,
    prompt: Sequence[int],
    coefficient: float,
    tail: Sequence[int],
    rollouts: Rollouts,
    answers: AnswerIds,
) -> float:
    """Return the largest difference of KL and p_true from forwards without a cache."""

    def log_p(ids: Sequence[int]) -> torch.Tensor:
        read = torch.tensor([list(ids)], device=model.device)
        logits: torch.Tensor = model(input_ids=read, use_cache=False).logits
        return logits[0].to(torch.float32).log_softmax(-1)

    tokens = rollouts.token_ids[0]
    ids = [*prompt, *tokens]
    with at_rest(model):
        base = log_p(ids)
        with steered(model, steering, [coefficient]):
            log_s = log_p(ids)
            probes = [log_p([*prompt, *tokens[:fork], *tail])[-1] for fork in range(WINDOW + 1)]
    kl = (log_s.exp() * (log_s - base)).sum(-1)[len(prompt) - 1 : -1]
    p_true = torch.stack(probes)[:, list(answers.true_ids)].exp().sum(-1)
    recomputed = Rollouts(
        rollouts.token_ids,
        rollouts.gen_len,
        kl.cpu().numpy()[None],
        rollouts.pmass,
        p_true.cpu().numpy()[None],
        rollouts.top_id,
    )
    return _difference(recomputed, rollouts)


def _difference(one: Rollouts, other: Rollouts) -> float:
    """Return the largest difference of the first rows, up to the first token that differs."""
    same = np.cumprod(np.equal(one.token_ids[0], other.token_ids[0])).sum()
    # The prediction of the first token that differs had the same input.
    kl = [_kl(rollouts)[0, : same + 1] for rollouts in (one, other)]
    p_true = [rollouts.p_true[0, : same + 1] for rollouts in (one, other)]
    return float(
        max(
            (np.abs(kl[0] - kl[1]) / (1 + kl[0])).max(),
            np.abs(p_true[0] - p_true[1]).max(),
        )
    )


def _kl(rollouts: Rollouts) -> NDArray[np.float32]:
    assert rollouts.kl is not None, "rolled out with twins"
    return rollouts.kl


def _check(found: float, tolerance: float, what: str) -> None:
    # `not <=` also catches a difference of NaN.
    if not found <= tolerance:
        raise MeasureError(
            f"self-test failed: {what}: the largest difference must be at most {tolerance:.0e}, "
            f"got {found:.2g}"
        )
