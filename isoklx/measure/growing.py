"""Keys and values that grow in place: transformers' own are copied whole for every new token."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import DynamicLayer

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


def let_grow(cache: Cache) -> None:
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
