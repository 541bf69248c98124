"""Before anything is measured: the same numbers have to come out whichever way they are got."""

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
"""Largest difference of a probability, and of a KL for 1 nat more than it is; else 0.1."""

NOTHING = 1e-6
"""Largest KL of two distributions that are the same but for rounding, in float32."""


@dataclass(frozen=True)
class SelfTests:
    """Largest differences that were found, and whether prompts may be padded.

    Parameters
    ----------
    batch : float
        Between a row of a batch and the same row alone.
    fork : float
        Between the loop and every token read anew, without a cache: KL and forks.
    zero : float or None
        KL at a coefficient of 0; None where steering ablates.
    padded : bool
        Whether prompts of different length may be in one batch.
    """

    batch: float
    fork: float
    zero: float | None
    padded: bool


def self_test(
    model: PreTrainedModel,
    steering: Steering,
    prompts: Sequence[Sequence[int]],
    coefficient: float,
    tail: Sequence[int],
) -> SelfTests:
    """Measure a few tokens in several ways, and refuse to go on where they disagree.

    Parameters
    ----------
    model : PreTrainedModel
        A causal language model.
    steering : Steering
        What it is steered with.
    prompts : list of list of int
        Token ids of prompts, of which the shortest and the longest are rolled out.
    coefficient : float
        A dose that does something, without breaking the model.
    tail : list of int
        The tokens that ask at a fork.

    Returns
    -------
    SelfTests
        The largest differences, for the record.

    Raises
    ------
    MeasureError
        If rows of a batch differ from single ones, if the loop differs from every token read
        anew, if steering changes nothing, or a coefficient of 0 does.
    """
    # Half of the vocabulary against the other: whatever a model says, a wrong state moves it.
    size = model.config.get_text_config().vocab_size
    halves = AnswerIds(tuple(range(0, size, 2)), tuple(range(1, size, 2)))

    def rolled(prompts: Sequence[Sequence[int]], coefficients: Sequence[float]) -> Rollouts:
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
    # Of equal length, and not the same.
    cut = long[-len(short) :]
    alone = rolled([short], [coefficient])
    fork = _against_reading_anew(model, steering, short, coefficient, tail, alone, halves)
    _refuse(fork, tolerance, "rollouts with a cache differ from a recomputation without one")
    moved = float(_kl(alone).max())
    if moved <= NOTHING:
        raise MeasureError(
            f"self-test failed: steering changes nothing: the largest KL at coefficient "
            f"{coefficient:g} is {moved:.2g}"
        )
    together = rolled([short, cut, short], [coefficient, -coefficient, 0.0])
    batch = _difference(alone, together)
    _refuse(batch, tolerance, "a row of a batch differs from the same row alone")
    zero = None
    if steering.action == "add":
        zero = float(_kl(together)[2].max())
        _refuse(
            zero,
            NOTHING if model.dtype == torch.float32 else tolerance,
            "a coefficient of 0 changes the model",
        )
    padded = _difference(alone, rolled([short, long], [coefficient] * 2)) <= tolerance
    return SelfTests(batch, fork, zero, padded)


def _against_reading_anew(
    model: PreTrainedModel,
    steering: Steering,
    prompt: Sequence[int],
    coefficient: float,
    tail: Sequence[int],
    rollouts: Rollouts,
    answers: AnswerIds,
) -> float:
    """Largest difference of KL and of forks from forwards without cache, the base without hooks."""

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
            asked = [log_p([*prompt, *tokens[:fork], *tail])[-1] for fork in range(WINDOW + 1)]
    kl = (log_s.exp() * (log_s - base)).sum(-1)[len(prompt) - 1 : -1]
    p_true = torch.stack(asked)[:, list(answers.true_ids)].exp().sum(-1)
    anew = Rollouts(
        rollouts.token_ids,
        rollouts.gen_len,
        kl.cpu().numpy()[None],
        rollouts.pmass,
        p_true.cpu().numpy()[None],
        rollouts.top_id,
    )
    return _difference(anew, rollouts)


def _difference(one: Rollouts, other: Rollouts) -> float:
    """Largest difference of the first rows, as far as they say the same."""
    same = np.cumprod(np.equal(one.token_ids[0], other.token_ids[0])).sum()
    # What predicted the first token that differs was read alike.
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


def _refuse(found: float, tolerance: float, what: str) -> None:
    # Written so that a difference of NaN is refused too.
    if not found <= tolerance:
        raise MeasureError(
            f"self-test failed: {what}: the largest difference is {found:.2g}, and rounding "
            f"explains {tolerance:.0e} at most"
        )
