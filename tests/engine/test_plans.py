"""Planned cells and their names, which are distinct."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from isoklx.engine.plans import cell_plans, model_short
from isoklx.engine.settings import Settings
from isoklx.errors import UsageError

ONE: dict[str, Any] = {"models": ["org/name"], "methods": ["pca"], "seeds": [0], "sign": "+"}


def names(settings: Settings | None = None, samples: int = 1, **changes: Any) -> list[str]:
    plans = cell_plans(
        **{**ONE, **changes}, settings=settings or Settings(window=64), samples=samples
    )
    return [plan.run_id for plan in plans]


def test_a_cell_is_named_by_model_method_seed_and_window() -> None:
    assert names() == ["name_pca_s0_w64"]


def test_the_other_side_of_a_direction_is_another_cell() -> None:
    assert names(sign="-") == ["name_pca_neg_s0_w64"]
    assert names(sign="both") == ["name_pca_s0_w64", "name_pca_neg_s0_w64"]


def test_cells_of_one_model_are_adjacent() -> None:
    assert names(models=["a", "b"], methods=["pca", "mean_diff"]) == [
        "a_pca_s0_w64",
        "a_mean_diff_s0_w64",
        "b_pca_s0_w64",
        "b_mean_diff_s0_w64",
    ]


def test_samples_are_consecutive_seeds() -> None:
    drawn = Settings(window=64, temperature=0.7)
    found = names(drawn, samples=2, seeds=[0, 10])
    assert found == [f"name_pca_s{seed}_w64" for seed in (0, 1, 10, 11)]


def test_the_name_of_a_vector_file_is_the_method() -> None:
    assert names(Settings(window=64, vector=Path("some/happy.gguf"))) == ["name_happy_s0_w64"]


@pytest.mark.parametrize(
    ("model", "short"),
    [
        ("org/Name-1.5B", "Name-1.5B"),
        ("models/tiny/", "tiny"),
        ("models\\tiny", "tiny"),
        ("tiny/q4.gguf", "q4"),
        ("tiny/model.Q4_1.gguf", "model.Q4_1"),
        ("/a/b/..", "a"),
    ],
)
def test_a_model_is_named_by_the_last_part_of_its_path(model: str, short: str) -> None:
    assert model_short(model) == short


def test_a_trailing_slash_does_not_change_a_folder() -> None:
    plans = cell_plans(**{**ONE, "models": ["a/b/"]}, settings=Settings())
    assert [plan.model for plan in plans] == ["a/b"]


def test_the_current_folder_is_named_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    assert model_short(".") == "mine"


def test_checkpoints_are_outside_the_cell(tmp_path: Path) -> None:
    (plan,) = cell_plans(**ONE, settings=Settings())
    assert plan.folder(tmp_path) == tmp_path / "name_pca_s0_w256"
    assert plan.kept_in(tmp_path) == tmp_path / "_measuring" / "name_pca_s0_w256"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": []}, "model missing: give at least one"),
        (
            {"methods": ["lda"]},
            "method must be one of mean_diff, pca, pca_centred, directional_ablation, got 'lda'",
        ),
        ({"sign": "*"}, "sign must be '+', '-' or 'both', got '*'"),
        ({"seeds": [3, -1]}, "seed must be 0 or more, got -1"),
        (
            {"seeds": [0, 1]},
            "temperature must be above 0 for 2 seeds, got 0: greedy rollouts are all equal; give a"
            " temperature, or one seed",
        ),
        (
            {"models": ["a/x", "b/x"]},
            "two cells have the name x_pca_s0_w256: models a/x and b/x",
        ),
        (
            {"models": ["models/_x"]},
            "models/_x: cell name must not start with _, got _x_pca_s0_w256: such folders are"
            " skipped; rename the model's folder",
        ),
        (
            {"samples": 2},
            "temperature must be above 0 for 2 samples, got 0: greedy rollouts are all equal; give"
            " a temperature, or one sample",
        ),
        ({"models": ["a/x", "a/x"]}, "model a/x is given twice"),
        ({"methods": ["pca", "pca"]}, "method pca is given twice"),
        ({"seeds": [3, 3]}, "seed 3 is given twice"),
    ],
)
def test_an_invalid_plan_is_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        cell_plans(**{**ONE, "models": ["x"], **changes}, settings=Settings())
    assert str(error.value) == message


def test_zero_samples_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="samples must be at least 1, got 0"):
        names(samples=0)


def test_overlapping_samples_are_one_line() -> None:
    with pytest.raises(UsageError, match="two cells have the name name_pca_s1_w64: method pca"):
        names(Settings(window=64, temperature=1.0), samples=2, seeds=[0, 1])
