"""What a model's blocks put out at the ends of texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from isoklx.measure.blocks import decoder_blocks
from isoklx.measure.contexts import at_rest


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
