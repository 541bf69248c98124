"""Estimates of a run's cost, made without writing anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs the extra run")
pytest.importorskip("transformers", reason="needs the extra run")

from isoklx import run
from isoklx.engine import context, directions, pipeline, trials
from isoklx.engine.batches import memory_of
from isoklx.engine.inputs import TRIES
from isoklx.engine.plans import Estimate
from tests.engine.prepared_cells import parts
from tests.engine.small_runs import ROWS, contents, small
from tests.models.tiny_model import TINY, tiny_model

DOSE = 8 * (ROWS["prompts"] + ROWS["questions"])
"""Tokens."""


def estimated(options: dict[str, Any]) -> list[Estimate]:
    found = run(str(TINY), **options, dry=True)
    assert all(isinstance(each, Estimate) for each in found)
    return found  # type: ignore[return-value]


def test_each_cell_is_estimated_and_nothing_is_written(tmp_path: Path) -> None:
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
    assert first.rows == 3
    weights = sum(each.nbytes for each in tiny_model()[0].parameters())
    assert weights <= first.weights < 1.001 * weights
    assert first.working > 0
    assert first.seconds > 0
    line = str(first)
    assert line.startswith(f"tiny_mean_diff_s0_w8: at most {first.tokens} tokens; 3 rollouts at a")
    assert "; 3 MB for the model, " in line
    assert (
        str(replace(first, working=2_340_000_000)).split("; ")[2].endswith(", 2.3 GB for a batch")
    )


def test_existing_doses_are_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(str(TINY), **small(tmp_path, alphas=(0.0, 1.0)))
    before = contents(tmp_path)
    (more,) = estimated({**small(tmp_path), "batch": None})
    assert more.doses_there == 2
    assert more.tokens == DOSE
    assert more.rows == 3
    assert "tokens, 2 doses complete; 3 rollouts" in str(more)
    (same,) = estimated(small(tmp_path, alphas=(0.0, 1.0)))
    assert (same.tokens, same.rows, same.working, same.seconds) == (0, 0, 0, 0)
    assert str(same) == "tiny_mean_diff_s0_w8: complete"
    assert contents(tmp_path) == before


def test_an_incomplete_cell_keeps_its_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "roll_out", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(str(TINY), **small(tmp_path, batch=2))
    (estimate,) = estimated({**small(tmp_path), "batch": None})
    assert estimate.rows == 2


@contextmanager
def noted(module: ModuleType) -> Iterator[list[dict[str, Any]]]:
    """Record the batches that are rolled out."""
    roll_out = module.roll_out
    seen: list[dict[str, Any]] = []

    def rolled(model: Any, steering: Any, prompts: Any, *more: Any, **options: Any) -> Any:
        seen.append({"prompts": prompts, **options})
        return roll_out(model, steering, prompts, *more, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "roll_out", rolled)
        yield seen


def memory_of_largest(batches: list[dict[str, Any]]) -> int:
    return max(
        memory_of(
            tiny_model()[0],
            rows=len(batch["prompts"]),
            prompt=max(map(len, batch["prompts"])),
            window=batch["window"],
            tail=len(batch["tails"][0]) if batch["forks"] else 0,
            twins=batch["twins"],
        )
        for batch in batches
    )


CASES = {
    "larger than anything": {"batch": 64},
    "two doses at once": {"batch": 6},
    "smaller than the prompts": {"batch": 2},
    "a calibration of few held-out prompts": {"batch": 64, "noquestions": True, "alphas": (1.0,)},
}


@pytest.mark.parametrize("case", CASES)
def test_the_estimate_matches_the_run(tmp_path: Path, case: str) -> None:
    options = small(tmp_path, **CASES[case])
    if "noquestions" in options:
        del options["questions"]
        options["prompts"].write_text('{"prompt": "Is it?"}')
    with noted(trials) as tried:
        (estimate,) = estimated(options)
    with noted(pipeline) as made:
        run(str(TINY), **options)
    assert estimate.rows == max(len(batch["prompts"]) for batch in made)
    assert estimate.working == memory_of_largest(made)
    assert {batch["twins"] for batch in tried} == {batch["twins"] for batch in made}


def test_an_estimate_times_a_few_tokens_once_per_shape_of_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("self_test", "prepared"):
        monkeypatch.setattr(context, name, None)
    monkeypatch.setattr(directions, "extract", None)
    monkeypatch.setattr(directions, "calibration_start", None)
    with noted(trials) as tried:
        estimated(small(tmp_path, batch=3, window=512, method=("mean_diff", "pca")))
    # Those with a base twin of three prompts each, and questions: two tries of each.
    assert [(len(each["prompts"]), each["twins"]) for each in tried] == (
        [(3, True)] * 3 + [(2, False)] * 3
    )
    assert max(each["window"] for each in tried) == 1 + trials.STEPS
    assert max(len(prompt) for each in tried for prompt in each["prompts"]) == trials.LEAST


@pytest.mark.parametrize("patience", [0.0, 1e9])
def test_each_kind_of_batch_is_timed_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patience: float
) -> None:
    # A clock on which a row reads a token in 3 s and decodes one in 10 s, and so does its twin.
    seen = []

    def tried(
        _model: object,
        _steering: object,
        prompts: Sequence[Sequence[int]],
        _answers: object,
        *,
        window: int,
        twins: bool,
    ) -> float:
        seen.append(len(prompts))
        twin = sum(map(len, {*map(tuple, prompts)})) if twins else 0
        read = 3.0 * (sum(map(len, prompts)) + twin)
        return read + len(prompts) * 10.0 * (window - 1) * (1 + twins)

    monkeypatch.setattr(trials, "_tried", tried)
    monkeypatch.setattr(trials, "PATIENCE", patience)
    options = small(tmp_path, batch=64, alphas=(1.0,))
    (estimate,) = estimated(options)
    plan, _, given = parts(tmp_path, batch=64, alphas=(1.0,))
    assert max(seen) == ROWS["prompts"]

    def prompts(rows: Sequence[Sequence[int]], twins: int) -> float:
        return sum(3.0 * len(row) * (1 + twins) + 10.0 * 7 * (1 + twins) for row in rows)

    asked = 3.0 * len(given.tail) * len(given.forks)
    assert plan.settings.window == 8
    assert estimate.seconds == pytest.approx(
        TRIES * prompts(given.calib_prompts, 1)
        + prompts(given.prompts, 1)
        + prompts(given.questions, 0)
        + asked * (ROWS["prompts"] + ROWS["questions"])
    )
