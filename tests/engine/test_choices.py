"""Choices by name match the implemented ones."""

from __future__ import annotations

from typing import get_args

import pytest

torch = pytest.importorskip("torch", reason="needs the extra run")
pytest.importorskip("transformers", reason="needs the extra run")

from isoklx.engine.activations import METHODS, TOKENS
from isoklx.engine.calibration import statistic_of
from isoklx.engine.choices import Dtype, Method, Statistic, Token


def test_methods_and_tokens_match_the_extraction() -> None:
    assert get_args(Method) == METHODS
    assert get_args(Token) == TOKENS


@pytest.mark.parametrize("name", get_args(Statistic))
def test_statistics_match_those_of_the_calibration(name: str) -> None:
    assert statistic_of([[1.0, 1.0]], name) == 1


@pytest.mark.parametrize("name", get_args(Dtype)[1:])
def test_precisions_are_known_to_torch(name: str) -> None:
    assert isinstance(getattr(torch, name), torch.dtype)
