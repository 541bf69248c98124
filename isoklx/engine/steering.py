"""Steering vectors, and the hooks that apply them to the rows of a batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from isoklx.errors import MeasureError, UsageError


def decoder_blocks(model: PreTrainedModel) -> nn.ModuleList:
    """Return the decoder blocks, whose outputs are the residual stream, in order.

    On any architecture they are the only list of modules below ``model.get_decoder()`` whose length
    is the depth in the text configuration.
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
            f"{type(model).__name__} must have one list of {depth} blocks, got {len(lists)}"
        )
    return lists[0]


def refuse_other_outputs(model: PreTrainedModel) -> None:
    """Raise MeasureError unless each block outputs its hidden states, float [row, token, hidden].

    A tuple that begins with them is accepted. Gemma 3n's are [4, row, token, hidden]. Tested by a
    forward of six tokens.
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
            got = " and ".join(map(str, shapes)) or "nothing"
            raise MeasureError(
                f"{type(model).__name__} cannot be steered: the output of block {layer} must be "
                f"[row, token, hidden] {expected}, got {got}"
            )


def _keep(found: list[Any]) -> Callable[[nn.Module, object, Any], None]:
    def keep(_module: nn.Module, _inputs: object, output: Any) -> None:
        # The output of a bloom or falcon block is a tuple that begins with the hidden state.
        found.append(output[0] if isinstance(output, tuple) else output)

    return keep


def layer_numbers(model: PreTrainedModel, layers: float | Sequence[float]) -> tuple[int, ...]:
    """Resolve numbers (from 0) and fractions of the depth to sorted block numbers."""
    depth = len(decoder_blocks(model))
    given = [layers] if isinstance(layers, int | float) else list(layers)
    numbers = [_number(layer, depth) for layer in given]
    if not numbers:
        raise UsageError("layer must name at least one block, got none")
    twice = {number for number in numbers if numbers.count(number) > 1}
    if twice:
        raise UsageError(f"layer {min(twice)} is named twice in {layers!r}")
    return tuple(sorted(numbers))


def _number(layer: float, depth: int) -> int:
    if isinstance(layer, float) and 0 <= layer < 1:
        # 0.29 * 100 is 28.999999999999996 in floating point; 29 is meant.
        return math.floor(layer * depth + 1e-9)
    if not float(layer).is_integer() or not 0 <= layer < depth:
        raise UsageError(
            f"layer {layer:g} not found: the model has blocks 0 to {depth - 1}"
            "; fractions must be below 1"
        )
    return int(layer)


Output = Tensor | tuple[Tensor, ...]
Coefficients = Tensor | NDArray[np.float32] | Sequence[float]

BASE = float("nan")
"""Coefficient of a row that is not steered."""


@dataclass(frozen=True)
class Steering:
    """Direction per block, and how it is applied."""

    # With c the coefficient: "add" turns h into h + c v, "ablate" into h - (h.v) v + c v.
    action: Literal["add", "ablate"]
    vectors: Mapping[int, NDArray[np.float32]]  # [hidden] by block; of length 1 for ablation
    method: str
    # "depth" or "depth + 1": number of rows of the file, if the vectors were read by row.
    vector_rows: str | None = None

    def __post_init__(self) -> None:
        if self.action not in ("add", "ablate"):
            raise MeasureError(f"action must be add or ablate, got {self.action!r}")
        if not self.vectors:
            raise MeasureError("steering needs at least one vector, got none")
        for layer, vector in self.vectors.items():
            if vector.ndim != 1:
                raise MeasureError(
                    f"the vector of layer {layer} must have one axis, got shape {vector.shape}"
                )
            if not np.isfinite(vector).all():
                where = int(np.flatnonzero(~np.isfinite(vector))[0])
                raise MeasureError(
                    f"the vector of layer {layer} must be finite, got {vector[where]} at {where}"
                )
            length = float(np.linalg.norm(vector))
            if self.action == "ablate" and abs(length - 1) > 1e-3:
                raise MeasureError(
                    f"the vector of layer {layer} must have length 1 to be ablated,"
                    f" got {length:.4g}"
                )


class Steered:
    """Coefficients of a model's rows, one per row; made by :func:`steered`."""

    def __init__(self, steering: Steering, device: torch.device) -> None:
        self._ablates = steering.action == "ablate"
        self._vectors = {
            layer: torch.as_tensor(np.asarray(vector, np.float32), device=device)
            for layer, vector in steering.vectors.items()
        }
        self._coefficients = torch.empty(0, device=device)
        self._active = self._coefficients

    def rows(self, coefficients: Coefficients) -> None:
        """Set the coefficient of each row of the next forward; NaN leaves a row unchanged."""
        given = torch.as_tensor(coefficients, dtype=torch.float32)
        given = given.to(self._coefficients.device)[:, None, None]
        self._active = (~given.isnan()).to(torch.float32)
        self._coefficients = given.masked_fill(given.isnan(), 0.0)

    def __call__(self, layer: int, hidden: Tensor) -> Tensor:
        """Return the steered output of a block, float [row, token, hidden] in its own dtype."""
        if hidden.shape[0] != self._coefficients.shape[0]:
            raise MeasureError(
                f"block {layer} must output {self._coefficients.shape[0]} rows,"
                f" got {hidden.shape[0]}"
            )
        # In float32 whatever the model's dtype, so that the sum is rounded once.
        vector, h = self._vectors[layer].to(hidden.device), hidden.to(torch.float32)
        if vector.shape[0] != h.shape[-1]:
            raise MeasureError(
                f"the vector of layer {layer} must have the model's hidden size {h.shape[-1]},"
                f" got {vector.shape[0]}"
            )
        weights = self._coefficients.to(h.device)
        if self._ablates:
            weights = weights - self._active.to(h.device) * (h @ vector)[..., None]
        return (h + weights * vector).to(hidden.dtype)


@contextmanager
def steered(
    model: PreTrainedModel,
    steering: Steering,
    coefficients: Coefficients = (),
) -> Iterator[Steered]:
    """Steer the rows of every forward within; the hooks are always removed.

    All tokens of a row are steered, those of the prompt too. A coefficient of NaN marks a base row,
    whose values stay exactly as they are.
    """
    blocks = decoder_blocks(model)
    beyond = [layer for layer in steering.vectors if not 0 <= layer < len(blocks)]
    if beyond:
        raise MeasureError(f"the layer of a vector must be 0 to {len(blocks) - 1}, got {beyond[0]}")
    work = Steered(steering, model.device)
    work.rows(coefficients)
    handles = []
    try:
        for layer in steering.vectors:
            handles.append(blocks[layer].register_forward_hook(_hook(work, layer)))
        yield work
    finally:
        for handle in handles:
            handle.remove()


def _hook(work: Steered, layer: int) -> Callable[[nn.Module, object, Output], object]:
    def steer(_module: nn.Module, _inputs: object, output: Output) -> object:
        # The output of a bloom or falcon block is a tuple that begins with the hidden state.
        if isinstance(output, tuple):
            return (work(layer, output[0]), *output[1:])
        return work(layer, output)

    return steer
