"""Steering directions from pairs of answers, and the states that they are computed from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from isoklx.engine.caches import at_rest
from isoklx.engine.chat import answered_ids, context_length
from isoklx.engine.inputs import Pair
from isoklx.engine.steering import Steering, decoder_blocks
from isoklx.errors import MeasureError, UsageError


def last_states(
    model: PreTrainedModel,
    sequences: Sequence[Sequence[int]],
    layers: Sequence[int],
    *,
    batch: int = 16,
) -> dict[int, NDArray[np.float32]]:
    """Read block outputs at the last token of each sequence, float32 [sequence, hidden]."""
    order = np.argsort([len(ids) for ids in sequences], kind="stable")
    found: dict[int, list[Tensor]] = {layer: [] for layer in layers}
    with at_rest(model):
        for start in range(0, len(order), batch):
            rows = [sequences[row] for row in order[start : start + batch]]
            for layer, states in _read(model, rows, layers).items():
                found[layer].append(states)
    back = torch.as_tensor(np.argsort(order, kind="stable"))
    return {layer: torch.cat(states)[back].numpy() for layer, states in found.items()}


def residual_norms(
    model: PreTrainedModel,
    sequences: Sequence[Sequence[int]],
    layers: Sequence[int],
    *,
    batch: int = 16,
) -> dict[int, float]:
    """Return the median norm of each block's output at the ends of prompts."""
    return {
        layer: float(np.median(np.linalg.norm(states.astype(np.float64), axis=1)))
        for layer, states in last_states(model, sequences, layers, batch=batch).items()
    }


def _read(
    model: PreTrainedModel, rows: Sequence[Sequence[int]], layers: Sequence[int]
) -> dict[int, Tensor]:
    """Return block outputs at the last token of each row, float32 [row, hidden]."""
    longest = max(map(len, rows))
    # Padded on the right without a mask: in a causal model no token sees later ones.
    ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], device=model.device)
    ends = torch.tensor([len(row) - 1 for row in rows])
    states: dict[int, Tensor] = {}

    def keep(layer: int, output: Tensor) -> None:
        states[layer] = output[torch.arange(len(rows)), ends.to(output.device)].float().cpu()

    with _watching(model, layers, keep):
        model.get_decoder()(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
    return states


@contextmanager
def _watching(
    model: PreTrainedModel, layers: Sequence[int], keep: Callable[[int, Tensor], None]
) -> Iterator[None]:
    """Pass the outputs of blocks, float [row, token, hidden], to `keep`."""
    blocks = decoder_blocks(model)
    handles: list[RemovableHandle] = []
    try:
        for layer in layers:
            handles.append(blocks[layer].register_forward_hook(_hook(keep, layer)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _hook(keep: Callable[[int, Tensor], None], layer: int) -> Callable[..., None]:
    def show(_module: nn.Module, _inputs: object, output: Tensor | tuple[Tensor, ...]) -> None:
        # The output of a bloom or falcon block is a tuple that begins with the hidden state.
        keep(layer, output[0] if isinstance(output, tuple) else output)

    return show


METHODS = ("mean_diff", "pca", "pca_centred", "directional_ablation")
"""Methods that find a direction; the first three are added, the last is ablated."""

TOKENS = ("content", "last")
"""Token whose state is read: the last of the answer itself, or of its closing by the template."""


@dataclass(frozen=True)
class Activations:
    """States at the ends of both answers of each pair, float32 [pair, hidden] by block."""

    positive: Mapping[int, NDArray[np.float32]]
    negative: Mapping[int, NDArray[np.float32]]


def extract(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[Pair],
    layers: Sequence[int],
    method: str,
    *,
    token: str = "content",
    batch: int = 16,
) -> Steering:
    """Find the direction of pairs of answers, a vector of unit length per layer."""
    if method not in METHODS:
        raise UsageError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    states = activations(model, tokenizer, pairs, layers, token=token, batch=batch)
    return steering_of(states, method)


def activations(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[Pair],
    layers: Sequence[int],
    *,
    token: str = "content",
    batch: int = 16,
) -> Activations:
    """Read the states at the ends of the answers, from which every method starts."""
    if token not in TOKENS:
        raise UsageError(f"token must be one of {', '.join(TOKENS)}, got {token!r}")
    if not pairs:
        raise UsageError("a direction needs at least one pair, got none")
    states = last_states(model, answers(model, tokenizer, pairs, token), layers, batch=batch)
    return Activations(
        positive={layer: rows[0::2] for layer, rows in states.items()},
        negative={layer: rows[1::2] for layer, rows in states.items()},
    )


def answers(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, pairs: Sequence[Pair], token: str
) -> list[list[int]]:
    """Return token ids of both answers of each pair; raise UsageError beyond the context."""
    sequences = pair_ids(tokenizer, pairs, token)
    context = context_length(model)
    longest = max(range(len(sequences)), key=lambda row: len(sequences[row]))
    if context is not None and len(sequences[longest]) > context:
        raise UsageError(
            f"pair {longest // 2 + 1}: an answer with its prompt must fit the model's context of"
            f" {context} tokens, got {len(sequences[longest])}"
        )
    return sequences


def pair_ids(
    tokenizer: PreTrainedTokenizerBase, pairs: Sequence[Pair], token: str
) -> list[list[int]]:
    """Return token ids of both answers of each pair, up to the token whose state is read."""
    found = []
    for number, pair in enumerate(pairs, start=1):
        try:
            for answer in (pair.positive, pair.negative):
                found.append(answered_ids(tokenizer, pair.prompt, answer, closed=token == "last"))
        except MeasureError as error:
            raise MeasureError(f"pair {number}: {error}") from error
    return found


def steering_of(states: Activations, method: str) -> Steering:
    """Compute a steering from states: one direction per layer and the action."""
    vectors = {}
    for layer, positive in states.positive.items():
        try:
            vectors[layer] = direction(positive, states.negative[layer], method)
        except MeasureError as error:
            raise MeasureError(f"layer {layer}: {error}") from error
    action: Literal["add", "ablate"] = "ablate" if method == "directional_ablation" else "add"
    return Steering(action, vectors, method)


def direction(
    positive: NDArray[np.floating], negative: NDArray[np.floating], method: str
) -> NDArray[np.float32]:
    """Compute the unit direction, float32 [hidden], from the negative to the positive states.

    "mean_diff" and "directional_ablation" take the mean of the paired differences, "pca" their
    first right singular vector, and "pca_centred" that of the differences less their mean. The sign
    is that of the mean difference along the direction; where that is 0 to rounding, the largest
    component is positive.
    """
    differences = positive.astype(np.float64) - negative.astype(np.float64)
    if not np.isfinite(differences).all():
        pair = int(np.flatnonzero(~np.isfinite(differences).all(axis=1))[0])
        raise MeasureError(f"the states of pair {pair} are not finite")
    mean = differences.mean(axis=0)
    found = mean
    if method == "pca":
        found = _first_singular(differences)
    elif method == "pca_centred":
        found = _first_singular(differences - mean)
    length = float(np.linalg.norm(found))
    # A difference within rounding is noise, not a direction.
    if length <= 1e-6 * max(float(np.abs(positive).max()), float(np.abs(negative).max())):
        raise MeasureError(f"the two sides of the pairs do not differ: {method} finds no direction")
    return _signed(found / length, mean).astype(np.float32)


def _first_singular(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the first right singular vector times its singular value."""
    _, lengths, vectors = np.linalg.svd(differences, full_matrices=False)
    first: NDArray[np.float64] = vectors[0] * lengths[0]
    return first


def _signed(unit: NDArray[np.float64], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the direction or its opposite, whichever points from negative to positive."""
    along = float(unit @ mean)
    if abs(along) <= 1e-9 * float(np.linalg.norm(mean)):
        along = float(unit[np.argmax(np.abs(unit))])
    return unit if along >= 0 else -unit
