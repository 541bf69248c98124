"""Rows of tokens that a model has read, and what it takes to read on from there."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import Cache, DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from isoklx.errors import MeasureError

ROOM = 32
"""Tokens for which there is room when keys and values have to be moved for a single one."""


class GrowingLayer(DynamicLayer):
    """A full attention's keys and values, as views of tensors that are longer than they are."""

    def __init__(self, layer: DynamicLayer) -> None:
        # Not by the constructor: all that it would set is in the layer already.
        vars(self).update(vars(layer))
        self.room: tuple[Tensor, Tensor] | None = None

    def update(
        self, key_states: Tensor, value_states: Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Put new keys and values behind those that are there; all of them."""
        assert self.keys is not None
        assert self.values is not None
        begin = self.keys.shape[-2]
        end = begin + key_states.shape[-2]
        if self.room is None or self.room[0].shape[-2] < end:
            # Several at once are a tail, after which nothing follows.
            length = end + (ROOM if end == begin + 1 else 0)
            self.room = (_roomier(self.keys, length), _roomier(self.values, length))
        keys, values = self.room
        keys[..., begin:end, :] = key_states
        values[..., begin:end, :] = value_states
        self.keys, self.values = keys[..., :end, :], values[..., :end, :]
        return self.keys, self.values

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        """Select rows; what they keep next is put where there is room anew."""
        assert self.keys is not None
        assert self.values is not None
        first = beam_idx.shape[0]
        if torch.equal(beam_idx, torch.arange(first, device=beam_idx.device)):
            # The first rows, as a branch takes them: nothing is written to them in place.
            self.keys, self.values = self.keys[:first], self.values[:first]
        else:
            super().reorder_cache(beam_idx)
        self.room = None


def preallocate(cache: Cache) -> None:
    """Give room to the layers that keep everything; others, which forget, stay as they are."""
    cache.layers = [
        # What stands for a block that attends to nothing, or to another's keys, is empty.
        GrowingLayer(layer) if type(layer) is DynamicLayer and layer.is_initialized else layer
        for layer in cache.layers
    ]


def bytes_of(layer: Any, tokens: int, room: int) -> int:
    """Bytes of a cache's layer after so many tokens; states that do not grow stay as they are."""
    kept = [*vars(layer).values()]
    kept += [state for value in kept if isinstance(value, dict) for state in value.values()]
    stored = [value.untyped_storage() for value in kept if isinstance(value, Tensor)]
    # Keys are views of where they have room, and may share it.
    found = {each.data_ptr(): each.nbytes() for each in stored}
    keys, values = getattr(layer, "keys", None), getattr(layer, "values", None)
    if keys is None or values is None or not keys.numel():
        return sum(found.values())
    for each in (keys, values, *(getattr(layer, "room", None) or ())):
        found.pop(each.untyped_storage().data_ptr(), None)
    window = getattr(layer, "sliding_window", None)
    length = tokens + room if isinstance(layer, GrowingLayer) else min(tokens, window or tokens)
    each = int(keys.nbytes + values.nbytes) // int(keys.shape[-2])
    return sum(found.values()) + each * length


def large(cache: Cache) -> list[object]:
    """What a layer that grows keeps, and writes nothing into once rows are selected."""
    growing = [layer for layer in cache.layers if isinstance(layer, GrowingLayer)]
    return [kept for layer in growing for kept in (layer.keys, layer.values, layer.room)]


def _roomier(kept: Tensor, length: int) -> Tensor:
    room = kept.new_empty((*kept.shape[:-2], length, kept.shape[-1]))
    room[..., : kept.shape[-2], :] = kept
    return room


Rows = NDArray[np.intp]
_READS_TOGETHER: WeakKeyDictionary[PreTrainedModel, bool] = WeakKeyDictionary()


def reads_together(model: PreTrainedModel) -> bool:
    """Whether a model that has read something reads several more tokens in one forward.

    transformers' Mamba starts anew in the scan of several tokens, without the state that it had;
    such a model is given its tokens one at a time. Tried once per model, unsteered.

    Parameters
    ----------
    model : PreTrainedModel
        A causal language model.

    Returns
    -------
    bool
        False where together and one at a time give different next tokens.
    """
    if model not in _READS_TOGETHER:
        size = model.config.get_text_config().vocab_size
        ids = np.random.default_rng(0).integers(0, size, 16)
        ways = []
        for together in (True, False):
            contexts = Contexts(model, together=together)
            contexts.start([ids[:12].tolist()])
            ways.append(contexts.read(ids[None, 12:]).softmax(1))
        tolerance = 1e-3 if model.dtype == torch.float32 else 3e-2
        _READS_TOGETHER[model] = bool((ways[0] - ways[1]).abs().max() <= tolerance)
    return _READS_TOGETHER[model]


@contextmanager
def at_rest(model: PreTrainedModel) -> Iterator[None]:
    """No gradients and no dropout within; what was being trained is so again afterwards."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True


class Contexts:
    """A batch of contexts: read tokens, keep some of the rows, branch off.

    A branch is a copy of the cache as it is at that moment. A cache is never cropped: what a
    linear attention or a Mamba block keeps is a summary that cannot be taken back.

    Parameters
    ----------
    model : PreTrainedModel
        A causal language model that keeps what it has read in transformers' DynamicCache.
    together : bool
        Whether it may read on by several tokens at a time, see :func:`reads_together`.

    Raises
    ------
    MeasureError
        If the model keeps what it has read where it cannot be copied.
    """

    def __init__(self, model: PreTrainedModel, *, together: bool) -> None:
        self._model = model
        self._together = together
        # transformers called it past_key_values before 5.24, and cache_params in Mamba.
        names = inspect.signature(model.forward).parameters
        known = ("cache", "past_key_values", "cache_params")
        self._name = next((name for name in known if name in names), "cache")
        self._last = {"logits_to_keep": 1} if "logits_to_keep" in names else {}
        self._placed = "position_ids" in names
        self._cache: Any = None
        self._mask: Tensor | None = None

    def start(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """Read one prompt a row; the logits after it, float32 [row, vocabulary]."""
        longest = max(map(len, prompts))
        short = [longest - len(prompt) for prompt in prompts]
        # Padded on the left, so that all rows end together; none is where all are equally long.
        ids = torch.tensor([[0] * n + list(p) for n, p in zip(short, prompts, strict=True)])
        if any(short):
            begins = torch.tensor(short)[:, None]
            self._mask = (torch.arange(longest) >= begins).long().to(self._model.device)
        return self._forward(ids)

    def read(self, ids: NDArray[np.int64]) -> Tensor:
        """Read tokens [row, token] on; the logits after the last, float32 [row, vocabulary]."""
        parts = [ids] if self._together else np.split(ids, ids.shape[1], axis=1)
        for part in parts:
            if self._mask is not None:
                self._mask = torch.nn.functional.pad(self._mask, (0, part.shape[1]), value=1)
            logits = self._forward(torch.as_tensor(part))
        return logits

    def select(self, rows: Rows) -> None:
        """Go on with these rows, in this order; one named twice is doubled."""
        index = torch.as_tensor(rows, device=self._model.device)
        self._cache.reorder_cache(index)
        if self._mask is not None:
            self._mask = self._mask[index]

    def branch(self, rows: Rows) -> Contexts:
        """These rows as they are now, apart: reading on in the one leaves the other alone."""
        other = copy.copy(self)
        # Keys and values need not be copied first: once rows are selected they are written anew.
        other._cache = copy.deepcopy(self._cache, {id(kept): kept for kept in large(self._cache)})
        other.select(rows)
        return other

    def nbytes(self, tokens: int, room: int = 0) -> int:
        """Bytes that the cache takes after so many tokens, found from those that it has read.

        `room` is for how many more tokens a layer that grows keeps space.
        """
        return sum(bytes_of(layer, tokens, room) for layer in self._cache.layers)

    def _forward(self, ids: Tensor) -> Tensor:
        more: dict[str, Any] = dict(self._last)
        if self._mask is not None:
            more["attention_mask"] = self._mask
            if self._placed:
                places = (self._mask.cumsum(1) - 1).clamp(min=0)
                more["position_ids"] = places[:, -ids.shape[1] :]
        first = self._cache is None
        if not first:
            more[self._name] = self._cache
        out = self._model(input_ids=ids.to(self._model.device), use_cache=True, **more)
        self._cache = getattr(out, self._name, None)
        if type(self._cache) is not DynamicCache:
            # Another class, MiniMax's for one, keeps more than it selects rows of.
            name, kept = type(self._model).__name__, type(self._cache).__name__
            where = "no cache" if self._cache is None else f"a {kept}"
            raise MeasureError(f"{name} cannot be branched: it keeps what it has read in {where}")
        if first:
            preallocate(self._cache)
            if not any(hasattr(layer, "keys") for layer in self._cache.layers):
                # No padding went into a state, and only attention looks back at what was read.
                self._mask = None
        logits: Tensor = out.logits[:, -1].to(torch.float32)
        return logits
