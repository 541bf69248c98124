"""Order in which a cell's doses are decoded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch", reason="needs the extra run")
pytest.importorskip("transformers", reason="needs the extra run")

from isoklx.engine.pipeline import doses_at_once, missing


@given(st.lists(st.floats(-9, 9), min_size=1), st.integers(1, 40), st.integers(1, 300))
def test_each_dose_is_decoded_once_and_as_many_side_by_side_as_fit(
    alphas: list[float], prompts: int, batch: int
) -> None:
    groups = doses_at_once(alphas, prompts, batch)
    assert [alpha for group in groups for alpha in group] == alphas
    assert all(len(group) == 1 or len(group) * prompts <= batch for group in groups)
    assert all((len(group) + 1) * prompts > batch for group in groups[:-1])


def test_a_dose_present_to_rounding_is_not_missing() -> None:
    assert missing([0.0, 0.1 + 0.2, 4.0], [0.3, 0.0]) == [4.0]
    assert missing([1.0], []) == [1.0]
