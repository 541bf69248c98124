"""What a run would take is said without writing anything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs the extra run")
pytest.importorskip("transformers", reason="needs the extra run")

from isoklx.measure import cell_making, run
from isoklx.measure.estimates import Estimate
from isoklx.measure.inputs import TRIES
from tests.measure.small_runs import ROWS, contents, small
from tests.models.tiny_model import TINY, tiny_model

DOSE = 8 * (ROWS["prompts"] + ROWS["questions"])
"""Tokens."""


def estimated(options: dict[str, Any]) -> list[Estimate]:
    found = run(str(TINY), **options, dry=True)
    assert all(isinstance(each, Estimate) for each in found)
    return found  # type: ignore[return-value]


def test_each_cell_is_told_of_and_nothing_is_written(tmp_path: Path) -> None:
    options = small(tmp_path, method=("mean_diff", "pca"))
    before = contents(tmp_path)
    first, second = estimated(options)
    assert contents(tmp_path) == before
    assert not options["out"].exists()
    assert [each.plan.run_id for each in (first, second)] == [
        "tiny_mean_diff_s0_w8",
        "tiny_pca_s0_w8",
    ]
    assert first.tokens == 3 * DOSE + TRIES * 8 * ROWS["calib_prompts"]
    assert first.batch == 4
    weights = sum(each.nbytes for each in tiny_model()[0].parameters())
    assert weights <= first.weights < 1.001 * weights
    assert first.working > 0
    assert first.seconds > 0
    line = str(first)
    assert line.startswith(f"tiny_mean_diff_s0_w8: at most {first.tokens} tokens; 4 rollouts at a")
    assert "; 3 MB for the model, " in line
    assert str(replace(first, working=2_340_000_000)).split("; ")[2].endswith(", 2.3 GB beside it")


def test_what_is_there_already_is_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(str(TINY), **small(tmp_path, alphas=(0.0, 1.0)))
    before = contents(tmp_path)
    (more,) = estimated({**small(tmp_path), "batch": None})
    assert more.doses_there == 2
    assert more.tokens == DOSE
    assert more.batch == 4  # as it was begun
    assert "tokens, 2 of its doses are there; 4 rollouts" in str(more)
    (same,) = estimated(small(tmp_path, alphas=(0.0, 1.0)))
    assert (same.tokens, same.seconds) == (0, 0)
    assert str(same) == "tiny_mean_diff_s0_w8: is complete"
    assert contents(tmp_path) == before


def test_a_cell_that_was_begun_goes_on_with_its_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cell_making, "roll_out", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(str(TINY), **small(tmp_path, batch=3))
    (estimate,) = estimated({**small(tmp_path), "batch": None})
    assert estimate.batch == 3
