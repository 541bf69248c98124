"""Repetition against the definition, written out span by span."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("transformers", reason="needs the extra run")

from isoklx.engine.dose_records import GRAM, SPAN, repetition


def by_definition(tokens: list[int]) -> float:
    width = min(SPAN, len(tokens))
    worst = 0.0
    for begin in range(len(tokens) - width + 1):
        span = tokens[begin : begin + width]
        grams = [tuple(span[i : i + GRAM]) for i in range(width - GRAM + 1)]
        worst = max(worst, 1 - len(set(grams)) / len(grams))
    return worst


@given(st.lists(st.integers(0, 3), min_size=3, max_size=300))
def test_it_is_the_worst_share_of_any_span(tokens: list[int]) -> None:
    assert math.isclose(repetition(tokens), by_definition(tokens), abs_tol=1e-12)


def test_one_repeated_token_repeats_all_but_the_first_gram() -> None:
    assert repetition([5] * 500) == 125 / 126


def test_a_loop_at_the_end_of_a_fluent_text_is_found() -> None:
    assert repetition([*range(1000), *[7, 8] * 64]) > 0.9


def test_two_tokens_have_no_repetition_value() -> None:
    assert math.isnan(repetition([1, 1]))
    assert math.isnan(repetition([]))
