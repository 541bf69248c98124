"""What steers a model, and the hooks that do it, row by row of a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from isoklx.errors import MeasureError
from isoklx.measure.blocks import decoder_blocks

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
