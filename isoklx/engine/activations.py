"""Directions from pairs of answers: where the model's states differ between the two sides."""

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
    """Read the outputs of blocks at the last token of each sequence.

    Parameters
    ----------
    model : PreTrainedModel
        A causal language model.
    sequences : list of list of int
        Token ids; none empty.
    layers : list of int
        Numbers of blocks.
    batch : int
        Sequences that are read at a time.

    Returns
    -------
    dict of int to ndarray
        Per block float32 [sequence, hidden], in the order given.
    """
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
    """Measure how long the states are that a vector will be added to.

    Parameters
    ----------
    model, sequences, layers, batch
        As in :func:`last_states`; the sequences are prompts.

    Returns
    -------
    dict of int to float
        Per block the median Euclidean length of its output at the ends of the prompts, from which
        the calibration starts. The first tokens of a text, whose states some models blow up, do
        not count.
    """
    return {
        layer: float(np.median(np.linalg.norm(states.astype(np.float64), axis=1)))
        for layer, states in last_states(model, sequences, layers, batch=batch).items()
    }


def _read(
    model: PreTrainedModel, rows: Sequence[Sequence[int]], layers: Sequence[int]
) -> dict[int, Tensor]:
    """Outputs of blocks at the last token of each row, float32 [row, hidden]."""
    longest = max(map(len, rows))
    # Padded on the right: in a causal model no token sees what follows it, so nothing is masked.
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
    """Show the outputs of blocks, float [row, token, hidden], to `keep`."""
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
        # A block of bloom or falcon puts out a tuple, of which the first is the hidden state.
        keep(layer, output[0] if isinstance(output, tuple) else output)

    return show


METHODS = ("mean_diff", "pca", "pca_centred", "directional_ablation")
"""Ways to a direction; the first three are added, the last is ablated."""

TOKENS = ("content", "last")
"""The answer's last token of its own, or the last of those by which the template closes it."""


@dataclass(frozen=True)
class Activations:
    """States of a model at the ends of the two sides' answers.

    Parameters
    ----------
    positive, negative : dict of int to ndarray
        Number of a block to its output, float32 [pair, hidden].
    """

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
    """Find the direction of pairs of answers, one per layer.

    Parameters
    ----------
    model : PreTrainedModel
        A causal language model.
    tokenizer : PreTrainedTokenizerBase
        Its tokenizer.
    pairs : list of Pair
        Answers that differ in what is to be steered.
    layers : list of int
        Numbers of the blocks whose output is taken, and will be steered.
    method : {"mean_diff", "pca", "pca_centred", "directional_ablation"}
        As in :func:`direction`.
    token : {"content", "last"}
        Which token's state: the answer's last of its own, or the last of its turn.
    batch : int
        Answers that the model reads at a time.

    Returns
    -------
    Steering
        Vectors of unit length.

    Raises
    ------
    UsageError
        If method or token is none of these.
    MeasureError
        If the sides do not differ, the states are no finite numbers, or the chat template will not
        write the answers.
    """
    if method not in METHODS:
        raise UsageError(f"method {method!r} is none of {', '.join(METHODS)}")
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
    """Read the model's states at the ends of the answers, which every method starts from.

    Parameters
    ----------
    model, tokenizer, pairs, layers, token, batch
        As in :func:`extract`.

    Returns
    -------
    Activations

    Raises
    ------
    UsageError
        If token is neither, there is no pair, or an answer is longer than the model's context.
    MeasureError
        As in :func:`extract`.
    """
    if token not in TOKENS:
        raise UsageError(f"token {token!r} is none of {', '.join(TOKENS)}")
    if not pairs:
        raise UsageError("there are no pairs to find a direction from")
    states = last_states(model, answers(model, tokenizer, pairs, token), layers, batch=batch)
    return Activations(
        positive={layer: rows[0::2] for layer, rows in states.items()},
        negative={layer: rows[1::2] for layer, rows in states.items()},
    )


def answers(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, pairs: Sequence[Pair], token: str
) -> list[list[int]]:
    """Token ids of both answers of each pair; raise UsageError for one beyond the context."""
    sequences = pair_ids(tokenizer, pairs, token)
    context = context_length(model)
    longest = max(range(len(sequences)), key=lambda row: len(sequences[row]))
    if context is not None and len(sequences[longest]) > context:
        raise UsageError(
            f"pair {longest // 2 + 1}: an answer with its prompt is of {len(sequences[longest])}"
            f" tokens, and the model's context is {context}"
        )
    return sequences


def pair_ids(
    tokenizer: PreTrainedTokenizerBase, pairs: Sequence[Pair], token: str
) -> list[list[int]]:
    """Token ids of both answers of each pair, up to the token at which its state is read.

    Parameters
    ----------
    tokenizer, pairs, token
        As in :func:`extract`.

    Returns
    -------
    list of list of int
        The positive and the negative answer of the first pair, then those of the next.

    Raises
    ------
    MeasureError
        If the chat template will not write an answer; the message names the pair.
    """
    found = []
    for number, pair in enumerate(pairs, start=1):
        try:
            for answer in (pair.positive, pair.negative):
                found.append(answered_ids(tokenizer, pair.prompt, answer, closed=token == "last"))
        except MeasureError as error:
            raise MeasureError(f"pair {number}: {error}") from error
    return found


def steering_of(states: Activations, method: str) -> Steering:
    """Turn states into a steering: a direction per layer, and what is done with it.

    Parameters
    ----------
    states : Activations
        Of both sides.
    method : {"mean_diff", "pca", "pca_centred", "directional_ablation"}
        As in :func:`direction`.

    Returns
    -------
    Steering
        That ablates for "directional_ablation", else adds.

    Raises
    ------
    MeasureError
        If the two sides do not differ at a layer.
    """
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
    """Find the direction from the negative to the positive states.

    Parameters
    ----------
    positive, negative : ndarray
        Float [pair, hidden], paired row by row.
    method : {"mean_diff", "pca", "pca_centred", "directional_ablation"}
        "mean_diff" and "directional_ablation" take the mean of the paired differences, "pca" their
        first right singular vector, and "pca_centred" that of the differences less their mean, in
        which the shift that all pairs share is gone.

    Returns
    -------
    ndarray
        float32 [hidden], of unit length. Its sign is that of the mean difference along it; where
        that is 0 to rounding, its largest component is positive.

    Raises
    ------
    MeasureError
        If a state is no finite number, or the differences leave no direction.

    Examples
    --------
    >>> positive, negative = np.array([[3.0, 1.0], [5.0, 1.0]]), np.array([[1.0, 1.0], [1.0, 1.0]])
    >>> direction(positive, negative, "mean_diff")
    array([1., 0.], dtype=float32)
    """
    differences = positive.astype(np.float64) - negative.astype(np.float64)
    if not np.isfinite(differences).all():
        pair = int(np.flatnonzero(~np.isfinite(differences).all(axis=1))[0])
        raise MeasureError(f"the states of pair {pair} are no finite numbers")
    mean = differences.mean(axis=0)
    found = mean
    if method == "pca":
        found = _first_singular(differences)
    elif method == "pca_centred":
        found = _first_singular(differences - mean)
    length = float(np.linalg.norm(found))
    # States that are equal to rounding differ by noise, which is no direction.
    if length <= 1e-6 * max(float(np.abs(positive).max()), float(np.abs(negative).max())):
        raise MeasureError(f"the two sides of the pairs do not differ, and {method} finds nothing")
    return _signed(found / length, mean).astype(np.float32)


def _first_singular(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    """The first right singular vector, as long as the differences are along it."""
    _, lengths, vectors = np.linalg.svd(differences, full_matrices=False)
    first: NDArray[np.float64] = vectors[0] * lengths[0]
    return first


def _signed(unit: NDArray[np.float64], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """The direction or its opposite, whichever points from negative to positive."""
    along = float(unit @ mean)
    if abs(along) <= 1e-9 * float(np.linalg.norm(mean)):
        along = float(unit[np.argmax(np.abs(unit))])
    return unit if along >= 0 else -unit
