"""Answers that could not be told apart are refused."""

from __future__ import annotations

import pytest

pytest.importorskip("transformers", reason="needs the extra run")

from isoklx.engine.chat import AnswerIds
from isoklx.errors import MeasureError


def test_ids_are_sorted_and_each_stands_once() -> None:
    assert AnswerIds((9, 3, 9), (4,)) == AnswerIds((3, 9), (4,))


def test_an_answer_that_no_token_spells_is_refused() -> None:
    with pytest.raises(MeasureError, match="answer 'false' must have a single-token spelling"):
        AnswerIds((1,), ())


def test_a_token_that_counts_twice_is_refused() -> None:
    with pytest.raises(MeasureError, match="token 4 is listed both as true and as false"):
        AnswerIds((4, 5), (3, 4))
