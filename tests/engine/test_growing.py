"""A cache that grows in place equals transformers' own."""

from __future__ import annotations

import copy

import pytest

pytest.importorskip("torch", reason="models run in torch")
pytest.importorskip("transformers", reason="models are those of transformers")

import torch
from transformers import DynamicCache

from isoklx.engine.caches import ROOM, GrowingLayer, large, preallocate


def fed(cache: DynamicCache, tokens: int, rows: int = 2, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for layer in range(2):
        new = torch.rand(2, rows, 3, tokens, 4, generator=generator)
        keys, values = cache.update(new[0], new[1], layer)
        assert keys.shape == values.shape == cache.layers[layer].keys.shape


def same(one: DynamicCache, other: DynamicCache) -> bool:
    return all(
        torch.equal(a.keys, b.keys) and torch.equal(a.values, b.values)
        for a, b in zip(one.layers, other.layers, strict=True)
    )


def two() -> tuple[DynamicCache, DynamicCache]:
    plain, growing = DynamicCache(), DynamicCache()
    for cache in (plain, growing):
        fed(cache, 5)
    preallocate(growing)
    assert all(type(layer) is GrowingLayer for layer in growing.layers)
    return plain, growing


def test_it_equals_the_original_at_every_length() -> None:
    plain, growing = two()
    for seed, tokens in enumerate([1, 1, ROOM - 2, 1, 3 * ROOM, 1]):
        fed(plain, tokens, seed=seed)
        fed(growing, tokens, seed=seed)
        assert same(plain, growing)
        assert growing.get_seq_length() == plain.get_seq_length()


def test_appending_moves_nothing_while_there_is_room() -> None:
    _, growing = two()
    fed(growing, 1)
    place = growing.layers[0].keys.data_ptr()
    for _ in range(ROOM):
        fed(growing, 1)
    assert growing.layers[0].keys.data_ptr() == place


def test_selected_rows_grow_independently() -> None:
    plain, growing = two()
    for cache in (plain, growing):
        fed(cache, 1)
        cache.reorder_cache(torch.tensor([1, 1, 0]))
        fed(cache, 2, rows=3)
    assert same(plain, growing)


def test_a_branch_does_not_write_to_shared_tensors() -> None:
    plain, growing = two()
    for cache in (plain, growing):
        fed(cache, 1)
    branch = copy.deepcopy(growing, {id(kept): kept for kept in large(growing)})
    branch.reorder_cache(torch.tensor([0, 1]))
    fed(branch, 4, seed=9)
    assert same(plain, growing)
    fed(plain, 3)
    fed(growing, 3)
    assert same(plain, growing)


def test_one_token_allocates_spare_room_and_a_suffix_does_not() -> None:
    for tokens, room in ((1, 1 + ROOM), (4, 4)):
        _, growing = two()
        before = growing.get_seq_length()
        fed(growing, tokens)
        keys = growing.layers[0].keys
        longer = keys.untyped_storage().nbytes() / keys.nbytes * keys.shape[-2]
        assert longer == before + room
