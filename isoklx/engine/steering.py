"""What steers a model, and the hooks that do it, row by row of a batch."""

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


Output = Tensor | tuple[Tensor, ...]
Coefficients = Tensor | NDArray[np.float32] | Sequence[float]

BASE = float("nan")
"""The coefficient of a row that is left as it is."""


@dataclass(frozen=True)
class Steering:
    """A direction per block, and what is done with it.

    Parameters
    ----------
    action : {"add", "ablate"}
        With c the coefficient and v the vector: ``add`` turns a block's output h into h + c v,
        ``ablate`` into h - (h.v) v + c v.
    vectors : dict of int to ndarray
        Number of a block to its vector, float32 [hidden]. For ``ablate`` of length 1.
    method : str
        How the vectors were found, as it is recorded.
    vector_rows : {"depth", "depth + 1"}, optional
        How many rows the file had that the vectors were read from by row, as it is recorded.

    Raises
    ------
    MeasureError
        If there is no vector, or one is not a line of finite numbers, or not of unit length where
        it is ablated.
    """

    action: Literal["add", "ablate"]
    vectors: Mapping[int, NDArray[np.float32]]
    method: str
    vector_rows: str | None = None

    def __post_init__(self) -> None:
        if self.action not in ("add", "ablate"):
            raise MeasureError(f"action {self.action!r} is neither add nor ablate")
        if not self.vectors:
            raise MeasureError("there is no vector to steer with")
        for layer, vector in self.vectors.items():
            if vector.ndim != 1:
                raise MeasureError(f"the vector of layer {layer} has the shape {vector.shape}")
            if not np.isfinite(vector).all():
                where = int(np.flatnonzero(~np.isfinite(vector))[0])
                raise MeasureError(f"the vector of layer {layer} has {vector[where]} at {where}")
            length = float(np.linalg.norm(vector))
            if self.action == "ablate" and abs(length - 1) > 1e-3:
                raise MeasureError(
                    f"the vector of layer {layer} has length {length:.4g};"
                    " one that is ablated has length 1"
                )


class Steered:
    """The coefficients at work on a model's rows, one per row; made by :func:`steered`."""

    def __init__(self, steering: Steering, device: torch.device) -> None:
        self._ablates = steering.action == "ablate"
        self._vectors = {
            layer: torch.as_tensor(np.asarray(vector, np.float32), device=device)
            for layer, vector in steering.vectors.items()
        }
        self._coefficients = torch.empty(0, device=device)
        self._active = self._coefficients

    def rows(self, coefficients: Coefficients) -> None:
        """Say what each row of the next forward is steered by; NaN leaves a row as it is."""
        given = torch.as_tensor(coefficients, dtype=torch.float32)
        given = given.to(self._coefficients.device)[:, None, None]
        self._active = (~given.isnan()).to(torch.float32)
        self._coefficients = given.masked_fill(given.isnan(), 0.0)

    def __call__(self, layer: int, hidden: Tensor) -> Tensor:
        """The output of a block, steered; float [row, token, hidden] as it came."""
        if hidden.shape[0] != self._coefficients.shape[0]:
            raise MeasureError(
                f"block {layer} puts out {hidden.shape[0]} rows"
                f" where {self._coefficients.shape[0]} are read"
            )
        # In float32 whatever the model computes in, so that the sum is rounded once.
        vector, h = self._vectors[layer].to(hidden.device), hidden.to(torch.float32)
        if vector.shape[0] != h.shape[-1]:
            raise MeasureError(
                f"the vector of layer {layer} is {vector.shape[0]} wide,"
                f" the model's hidden states {h.shape[-1]}"
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
    """Steer the rows of every forward within; the hooks come off however it ends.

    All tokens of a row are steered, those of the prompt too.

    Parameters
    ----------
    model : PreTrainedModel
        A causal language model; its weights are not touched.
    steering : Steering
        The vectors and what is done with them.
    coefficients : Tensor or list of float
        One per row of the batch; a row of NaN is a base row, left exactly as it is.

    Yields
    ------
    Steered
        Its ``rows(coefficients)`` changes the coefficients when the rows change.

    Raises
    ------
    MeasureError
        If a layer is not there, or a vector is not as wide as the model's hidden states.
    """
    blocks = decoder_blocks(model)
    beyond = [layer for layer in steering.vectors if not 0 <= layer < len(blocks)]
    if beyond:
        raise MeasureError(
            f"there is a vector for layer {beyond[0]}; the model has 0 to {len(blocks) - 1}"
        )
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
        # A block of bloom or falcon puts out a tuple, of which the first is the hidden state.
        if isinstance(output, tuple):
            return (work(layer, output[0]), *output[1:])
        return work(layer, output)

    return steer
