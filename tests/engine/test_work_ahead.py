"""What is left to be rolled out, and how many at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs the extra run")
pytest.importorskip("transformers", reason="needs the extra run")

from isoklx.engine import pipeline
from isoklx.engine.trials import Outline, stages_ahead
from tests.engine.prepared_cells import parts

ALPHAS = (0.0, 0.5, 1.0, 2.0)


Sizes = Callable[..., list[tuple[int, int]]]


@pytest.fixture(scope="module")
def sizes(tmp_path_factory: pytest.TempPathFactory) -> Sizes:
    """Rollouts of each stage, and rows of its largest batch."""
    _, _, tokenised = parts(tmp_path_factory.mktemp("cell"), alphas=ALPHAS)

    def found(doses: Sequence[float] = ALPHAS, tries: int = 5, batch: int = 4) -> Any:
        outline = Outline(ALPHAS, tokenised, "cpu", batch, padded=True)
        stages = stages_ahead(outline, doses, tries)
        return [(stage.rollouts, len(stage.batch)) for stage in stages]

    return found


def test_batches_are_no_larger_than_what_there_is(sizes: Sizes) -> None:
    # Three prompts for the calibration and three that are held out, and two questions.
    assert sizes() == [(15, 3), (12, 3), (8, 2)]
    assert sizes(batch=2) == [(15, 2), (12, 2), (8, 2)]
    assert sizes(batch=7) == [(15, 3), (12, 6), (8, 4)]


def test_what_is_there_is_not_rolled_out_again(sizes: Sizes) -> None:
    assert sizes(tries=0, doses=(1.0,), batch=64) == [(3, 3), (2, 2)]
    assert sizes(tries=0, doses=()) == []


def test_coefficients_that_are_tried_at_once_are_one_batch(
    sizes: Sizes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "AT_ONCE", {"cpu": 4})
    assert sizes(batch=11) == [(15, 9), (12, 9), (8, 6)]
    assert sizes(batch=64) == [(15, 12), (12, 12), (8, 8)]
