"""The decoder blocks of a model, and which of them are meant by a number or a fraction."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn
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
