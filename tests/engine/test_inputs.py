"""Input files of a run, and its expected number of tokens."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from isoklx.engine.inputs import TRIES, expected_tokens, read_inputs
from isoklx.engine.settings import Settings
from isoklx.errors import UsageError


def test_the_package_has_a_file_of_each_kind() -> None:
    inputs = read_inputs(Settings())
    assert inputs.pairs is not None
    assert inputs.questions is not None
    both = {*inputs.prompts.rows} & {*inputs.calib_prompts.rows}
    assert both == set()
    assert set(inputs.sha256) == {"prompts", "calib_prompts", "questions"}


def test_the_hash_is_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("Is it so?\n")
    found = read_inputs(Settings(prompts=path)).sha256["prompts"]
    assert found == hashlib.sha256(path.read_bytes()).hexdigest()


def test_questions_can_be_empty_or_disabled(tmp_path: Path) -> None:
    empty = tmp_path / "questions.jsonl"
    empty.write_text("")
    for settings in (Settings(questions=empty), Settings(ask=False)):
        inputs = read_inputs(settings)
        assert inputs.questions is None
        assert "questions" not in inputs.sha256


def test_pairs_are_not_read_with_a_vector_file(tmp_path: Path) -> None:
    assert read_inputs(Settings(vector=tmp_path / "a.npy")).pairs is None


@pytest.mark.parametrize("name", ["pairs", "prompts", "calib_prompts", "questions"])
def test_a_missing_file_is_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"absent.jsonl: \w+ cannot be read: No such file"):
        read_inputs(Settings(**{name: tmp_path / "absent.jsonl"}))


def test_a_held_out_prompt_must_not_be_a_calibration_prompt(tmp_path: Path) -> None:
    held_out, calib = tmp_path / "prompts.txt", tmp_path / "calib.txt"
    held_out.write_text("Is it so?\nAre you sure?\n")
    calib.write_text("Why?\n\nAre you sure?\n")
    with pytest.raises(UsageError, match=r"prompts.txt: line 2: repeats line 3 of .*calib.txt:"):
        read_inputs(Settings(prompts=held_out, calib_prompts=calib))
    with pytest.raises(UsageError, match=r"prompts.txt: line 1: repeats line 1 of .*prompts.txt"):
        read_inputs(Settings(prompts=held_out, calib_prompts=held_out))


def test_expected_tokens_count_every_rollout() -> None:
    settings = Settings(window=10, alphas=(0.0, 1.0, 2.0))
    inputs = read_inputs(settings)
    assert inputs.questions is not None
    dose = 10 * (len(inputs.prompts.rows) + len(inputs.questions.rows))
    one_try = 10 * len(inputs.calib_prompts.rows)
    assert expected_tokens(inputs, settings) == 3 * dose + TRIES * one_try
    assert expected_tokens(inputs, settings, doses=1, tries=0) == dose
    assert expected_tokens(inputs, settings, doses=0, tries=2) == 2 * one_try
