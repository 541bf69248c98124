"""The decoder blocks of a model, and which of them are meant by a number or a fraction."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from isoklx.errors import MeasureError, UsageError


def decoder_blocks(model: PreTrainedModel) -> nn.ModuleList:
    """The blocks of the decoder, whose outputs are the residual stream.

    They are the one list of modules below ``model.get_decoder()`` that is as long as the text
    configuration says that the model is deep, on whatever architecture.

    Parameters
    ----------
    model : PreTrainedModel
        A causal language model.

    Returns
    -------
    ModuleList
        In the order in which they run.

    Raises
    ------
    MeasureError
        If there is no such list, or more than one.
    """
    depth = model.config.get_text_config().num_hidden_layers
    decoder: nn.Module = model.get_decoder()
    lists = [
        module
        for module in decoder.modules()
        if isinstance(module, nn.ModuleList) and len(module) == depth
    ]
    if len(lists) != 1:
        raise MeasureError(
            f"{type(model).__name__} has {len(lists)} lists of {depth} blocks where one is needed"
        )
    return lists[0]


def refuse_other_outputs(model: PreTrainedModel) -> None:
    """Refuse a model whose blocks cannot be steered by adding a vector to what they put out.

    Each block must put out its hidden states once per forward, float [row, token, hidden], by
    themselves or as the first of a tuple. Gemma 3n's are [4, row, token, hidden]. Tried by a
    forward of six tokens, whatever the architecture.

    Parameters
    ----------
    model : PreTrainedModel
        A causal language model.

    Raises
    ------
    MeasureError
        Naming the architecture, the block and what it puts out.
    """
    blocks = decoder_blocks(model)
    outputs: list[list[Any]] = [[] for _ in blocks]
    handles = [
        block.register_forward_hook(_keep(outputs[layer])) for layer, block in enumerate(blocks)
    ]
    ids = torch.zeros((2, 3), dtype=torch.long, device=model.device)
    try:
        with torch.no_grad():
            model.get_decoder()(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    expected = [2, 3, model.config.get_text_config().hidden_size]
    for layer, found in enumerate(outputs):
        shapes = [
            list(each.shape) if isinstance(each, Tensor) else type(each).__name__ for each in found
        ]
        if shapes != [expected]:
            puts_out = " and ".join(map(str, shapes)) or "nothing"
            raise MeasureError(
                f"{type(model).__name__} cannot be steered: block {layer} puts out {puts_out} "
                f"where [row, token, hidden] is {expected}"
            )


def _keep(found: list[Any]) -> Callable[[nn.Module, object, Any], None]:
    def keep(_module: nn.Module, _inputs: object, output: Any) -> None:
        # A block of bloom or falcon puts out a tuple, of which the first is the hidden state.
        found.append(output[0] if isinstance(output, tuple) else output)

    return keep


def layer_numbers(model: PreTrainedModel, layers: float | Sequence[float]) -> tuple[int, ...]:
    """Which blocks are meant: numbers from 0, or fractions of the depth.

    Parameters
    ----------
    model : PreTrainedModel
        A causal language model.
    layers : int or float, or several
        A whole number names a block, the first is 0. A fraction from 0 up to 1 names the block at
        that fraction of the depth, rounded down: 0.6 is block 18 of 30.

    Returns
    -------
    tuple of int
        Sorted.

    Raises
    ------
    UsageError
        If a block is not there, or is named twice.
    """
    depth = len(decoder_blocks(model))
    asked = [layers] if isinstance(layers, int | float) else list(layers)
    numbers = [_number(layer, depth) for layer in asked]
    if not numbers:
        raise UsageError("layer: name at least one")
    twice = {number for number in numbers if numbers.count(number) > 1}
    if twice:
        raise UsageError(f"layer {min(twice)} is named twice in {layers!r}")
    return tuple(sorted(numbers))


def _number(layer: float, depth: int) -> int:
    if isinstance(layer, float) and 0 <= layer < 1:
        # 0.29 * 100 is 28.999999999999996 in binary, and means 29.
        return math.floor(layer * depth + 1e-9)
    if not float(layer).is_integer() or not 0 <= layer < depth:
        raise UsageError(
            f"layer {layer:g} is not there: the model has blocks 0 to {depth - 1}"
            ", or name a fraction below 1"
        )
    return int(layer)
