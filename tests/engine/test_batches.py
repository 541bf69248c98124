"""Grouping of rows, and the fallback when memory runs out."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch", reason="models run in torch")
pytest.importorskip("transformers", reason="models are those of transformers")

import torch

from isoklx.engine.batches import batches_of, each_batch, memory_of
from isoklx.errors import MeasureError
from tests.models.random_models import CONFIGS, random_model

LENGTHS = st.lists(st.integers(1, 9), max_size=40)


@given(LENGTHS, st.integers(1, 12), st.booleans())
def test_every_row_is_in_one_batch_of_limited_size(lengths, size: int, padded: bool) -> None:
    batches = batches_of(lengths, size, padded=padded)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    assert all(0 < len(batch) <= size for batch in batches)
    if padded:
        assert len(batches) == -(-len(lengths) // size)
    else:
        assert all(len({lengths[row] for row in batch}) == 1 for batch in batches)


@given(LENGTHS, st.integers(1, 12))
def test_rows_are_batched_with_rows_of_similar_length(lengths, size: int) -> None:
    batches = [[lengths[row] for row in batch] for batch in batches_of(lengths, size)]
    assert all(max(a) <= min(b) for a, b in itertools.pairwise(batches))


def out_of_memory_above(rows: int, error: Exception, tried: list[int]):
    def work(batch: list[int]) -> int:
        tried.append(len(batch))
        if len(batch) > rows:
            raise error
        return sum(batch)

    return work


ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory"),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_out_of_memory_halves_all_later_batches_with_a_message(error: Exception) -> None:
    said: list[str] = []
    tried: list[int] = []
    batches = [list(range(8)), list(range(8, 16))]
    done = list(each_batch(batches, out_of_memory_above(3, error, tried), said.append))
    assert [rows for rows, _ in done] == [
        [0, 1],
        [2, 3],
        [4, 5],
        [6, 7],
        [8, 9],
        [10, 11],
        [12, 13],
        [14, 15],
    ]
    assert all(result == sum(rows) for rows, result in done)
    assert tried == [8, 4] + [2] * 8
    assert said == [
        "memory ran out with 8 rows: continuing with 4 at a time",
        "memory ran out with 4 rows: continuing with 2 at a time",
    ]


def test_out_of_memory_with_a_single_row_is_an_error() -> None:
    with pytest.raises(MeasureError, match="single row"):
        list(each_batch([[0, 1]], out_of_memory_above(0, MemoryError(), []), lambda _line: None))


def test_other_errors_are_not_taken_for_out_of_memory() -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        list(each_batch([[0]], out_of_memory_above(0, RuntimeError("shapes"), []), print))


@pytest.mark.parametrize("name", CONFIGS)
def test_memory_grows_with_rows_and_with_the_window(name: str) -> None:
    model = random_model(name)
    small = memory_of(model, 2, prompt=8, window=16, tail=3)
    assert memory_of(model, 4, prompt=8, window=16, tail=3) == pytest.approx(2 * small, rel=0.01)
    assert memory_of(model, 2, prompt=8, window=64, tail=3) >= small
    assert memory_of(model, 2, prompt=8, window=16, tail=3, twins=False) < small
