"""Rollouts by a plain loop: one row, no cache, no batch. Slow, and obviously correct.

The oracle of the engine, and with ``generate`` for its rollouts the baseline of its benchmark.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn


def blocks(model: nn.Module) -> nn.ModuleList:
    for name in ("model.layers", "transformer.h", "backbone.layers", "gpt_neox.layers"):
        module = model
        for part in name.split("."):
            module = getattr(module, part, None)
        if module is not None:
            return module
    raise AssertionError(f"where are the blocks of {type(model).__name__}?")


@contextmanager
def hooked(model, action: str, vectors: dict, coefficient: float) -> Iterator[None]:
    def hook_of(vector):
        v = torch.tensor(vector)

        def hook(_module, _inputs, output):
            h = output[0] if isinstance(output, tuple) else output
            if action == "ablate":
                h = h - (h * v).sum(-1, keepdim=True) * v
            h = h + coefficient * v
            return (h, *output[1:]) if isinstance(output, tuple) else h

        return hook

    handles = [
        blocks(model)[layer].register_forward_hook(hook_of(vector))
        for layer, vector in vectors.items()
    ]
    yield
    for handle in handles:
        handle.remove()


def next_logits(model, ids: Sequence[int]) -> torch.Tensor:
    """Logits of every next token of one row of tokens."""
    with torch.no_grad():
        return model(input_ids=torch.tensor([list(ids)]), use_cache=False).logits[0].float()


def rollout(model, prompt: list[int], window: int, eos_ids: set[int]) -> list[int]:
    """Return the most probable tokens, each after reading all from the first."""
    tokens: list[int] = []
    while len(tokens) < window and not (tokens and tokens[-1] in eos_ids):
        tokens.append(int(next_logits(model, prompt + tokens)[-1].argmax()))
    return tokens


def kl_of(model, steering, coefficient: float, prompt: list[int], tokens: list[int]) -> list[float]:
    """KL(steered || base) of the distribution that predicted each token."""
    before = slice(len(prompt) - 1, len(prompt) + len(tokens) - 1)
    with hooked(model, steering.action, steering.vectors, coefficient):
        steered = next_logits(model, prompt + tokens)[before].log_softmax(-1)
    base = next_logits(model, prompt + tokens)[before].log_softmax(-1)
    return (steered.exp() * (steered - base)).sum(-1).tolist()


def fork_of(
    model, steering, coefficient: float, context: list[int], answers
) -> tuple[float, float, int]:
    """pmass, p_true and the most probable token after a context that ends in the tail."""
    with hooked(model, steering.action, steering.vectors, coefficient):
        logits = next_logits(model, context)[-1]
    p = logits.softmax(-1)
    true = float(p[list(answers.true_ids)].sum())
    false = float(p[list(answers.false_ids)].sum())
    return true + false, true / (true + false), int(logits.argmax())


def plain(
    model,
    steering,
    coefficient: float,
    prompt: list[int],
    *,
    window: int,
    forks: Sequence[int],
    tail: list[int],
    answers,
    eos_ids: set[int],
    rolled: Callable[..., list[int]] = rollout,
) -> tuple[list[int], list[float], dict[int, tuple[float, float, int]]]:
    """Tokens, KL per token, and (pmass, p_true, top_id) per fork of one row."""
    with hooked(model, steering.action, steering.vectors, coefficient):
        tokens = rolled(model, prompt, window, eos_ids)
    kl = kl_of(model, steering, coefficient, prompt, tokens)
    answered = {
        fork: fork_of(model, steering, coefficient, prompt + tokens[:fork] + tail, answers)
        for fork in forks
        if fork <= len(tokens)
    }
    return tokens, kl, answered
