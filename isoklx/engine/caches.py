"""Token contexts that a model has read, with the caches needed to continue from them."""

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
"""Spare tokens to allocate when keys and values are moved to append a single token."""


class GrowingLayer(DynamicLayer):
    """Keys and values of full attention, as views of preallocated tensors."""

    def __init__(self, layer: DynamicLayer) -> None:
        # Copy the state instead of calling the constructor, which would reset it.
        vars(self).update(vars(layer))
        self.room: tuple[Tensor, Tensor] | None = None

    def update(
        self, key_states: Tensor, value_states: Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append keys and values; return all of them."""
        assert self.keys is not None
        assert self.values is not None
        begin = self.keys.shape[-2]
        end = begin + key_states.shape[-2]
        if self.room is None or self.room[0].shape[-2] < end:
            # Several tokens at once are a suffix, after which nothing follows.
            length = end + (ROOM if end == begin + 1 else 0)
            self.room = (_extended(self.keys, length), _extended(self.values, length))
        keys, values = self.room
        keys[..., begin:end, :] = key_states
        values[..., begin:end, :] = value_states
        self.keys, self.values = keys[..., :end, :], values[..., :end, :]
        return self.keys, self.values

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        """Select rows; the next update allocates new tensors."""
        assert self.keys is not None
        assert self.values is not None
        first = beam_idx.shape[0]
        if torch.equal(beam_idx, torch.arange(first, device=beam_idx.device)):
            # The first rows in order, as in a branch: views suffice, nothing is written to them.
            self.keys, self.values = self.keys[:first], self.values[:first]
        else:
            super().reorder_cache(beam_idx)
        self.room = None


def preallocate(cache: Cache) -> None:
    """Let the cache's full-attention layers grow in place; bounded layers stay as they are."""
    cache.layers = [
        # Layers without keys of their own (no attention, or shared keys) are not initialized.
        GrowingLayer(layer) if type(layer) is DynamicLayer and layer.is_initialized else layer
        for layer in cache.layers
    ]


def bytes_of(layer: Any, tokens: int, room: int) -> int:
    """Return the bytes of a cache layer after `tokens` tokens with `room` spare ones."""
    kept = [*vars(layer).values()]
    kept += [state for value in kept if isinstance(value, dict) for state in value.values()]
    stored = [value.untyped_storage() for value in kept if isinstance(value, Tensor)]
    # Keys are views of preallocated tensors, and may share storage.
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
    """Return the tensors of growing layers, which are not written to once rows are selected."""
    growing = [layer for layer in cache.layers if isinstance(layer, GrowingLayer)]
    return [kept for layer in growing for kept in (layer.keys, layer.values, layer.room)]


def _extended(kept: Tensor, length: int) -> Tensor:
    extended = kept.new_empty((*kept.shape[:-2], length, kept.shape[-1]))
    extended[..., : kept.shape[-2], :] = kept
    return extended


Rows = NDArray[np.intp]
_READS_TOGETHER: WeakKeyDictionary[PreTrainedModel, bool] = WeakKeyDictionary()


def reads_together(model: PreTrainedModel) -> bool:
    """Return whether a model with a context reads several tokens correctly in one forward.

    transformers' Mamba starts the scan of several tokens without its previous state; such a model
    reads its tokens one at a time. Tested once per model, unsteered.
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
    """Disable gradients and dropout within; restore training mode afterwards."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True


class Contexts:
    """Batch of contexts that can be extended, reduced to some rows, and branched.

    A branch is a copy of the cache at that moment. A cache is never cropped: the state of a linear
    attention or Mamba block cannot be rolled back. MeasureError is raised if the model's cache is
    not transformers' DynamicCache.
    """

    def __init__(self, model: PreTrainedModel, *, together: bool) -> None:
        self._model = model
        self._together = together
        # Named past_key_values in transformers before 5.24, and cache_params in Mamba.
        names = inspect.signature(model.forward).parameters
        known = ("cache", "past_key_values", "cache_params")
        self._cache_name = next((name for name in known if name in names), "cache")
        self._last_logits = {"logits_to_keep": 1} if "logits_to_keep" in names else {}
        self._takes_positions = "position_ids" in names
        self._cache: Any = None
        self._mask: Tensor | None = None

    def start(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """Read one prompt per row; return the logits after it, float32 [row, vocabulary]."""
        longest = max(map(len, prompts))
        short = [longest - len(prompt) for prompt in prompts]
        # Padded on the left, so that all rows end together.
        ids = torch.tensor([[0] * n + list(p) for n, p in zip(short, prompts, strict=True)])
        if any(short):
            begins = torch.tensor(short)[:, None]
            self._mask = (torch.arange(longest) >= begins).long().to(self._model.device)
        return self._forward(ids)

    def read(self, ids: NDArray[np.int64]) -> Tensor:
        """Read tokens [row, token]; return the logits after the last, float32 [row, vocabulary]."""
        parts = [ids] if self._together else np.split(ids, ids.shape[1], axis=1)
        for part in parts:
            if self._mask is not None:
                self._mask = torch.nn.functional.pad(self._mask, (0, part.shape[1]), value=1)
            logits = self._forward(torch.as_tensor(part))
        return logits

    def select(self, rows: Rows) -> None:
        """Keep these rows, in this order; a row named twice is duplicated."""
        index = torch.as_tensor(rows, device=self._model.device)
        self._cache.reorder_cache(index)
        if self._mask is not None:
            self._mask = self._mask[index]

    def branch(self, rows: Rows) -> Contexts:
        """Return a copy of these rows that can be read on independently."""
        other = copy.copy(self)
        # Keys and values can be shared: after a selection, updates write to new tensors.
        other._cache = copy.deepcopy(self._cache, {id(kept): kept for kept in large(self._cache)})
        other.select(rows)
        return other

    def nbytes(self, tokens: int, room: int = 0) -> int:
        """Estimate the cache's bytes after `tokens` tokens, with space for `room` more."""
        return sum(bytes_of(layer, tokens, room) for layer in self._cache.layers)

    def _forward(self, ids: Tensor) -> Tensor:
        more: dict[str, Any] = dict(self._last_logits)
        if self._mask is not None:
            more["attention_mask"] = self._mask
            if self._takes_positions:
                positions = (self._mask.cumsum(1) - 1).clamp(min=0)
                more["position_ids"] = positions[:, -ids.shape[1] :]
        first = self._cache is None
        if not first:
            more[self._cache_name] = self._cache
        out = self._model(input_ids=ids.to(self._model.device), use_cache=True, **more)
        self._cache = getattr(out, self._cache_name, None)
        if type(self._cache) is not DynamicCache:
            # Other classes, such as MiniMax's, hold state that reorder_cache does not select.
            name, kept = type(self._model).__name__, type(self._cache).__name__
            got = "no cache" if self._cache is None else kept
            raise MeasureError(
                f"{name} cannot be branched: its cache must be DynamicCache, got {got}"
            )
        if first:
            preallocate(self._cache)
            if not any(hasattr(layer, "keys") for layer in self._cache.layers):
                # Without attention the mask only serves the first read: padding is in no state.
                self._mask = None
        logits: Tensor = out.logits[:, -1].to(torch.float32)
        return logits
