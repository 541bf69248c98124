"""Inputs of a run as a model's token ids."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the extra run")
pytest.importorskip("transformers", reason="needs the extra run")

from isoklx.engine.inputs import read_prompts
from tests.engine.prepared_cells import parts, tiny
from tests.engine.small_runs import ROWS


def test_prompts_end_where_the_assistants_turn_begins(tmp_path: Path) -> None:
    _, inputs, tokenised = parts(tmp_path)
    decoded = [tiny().tokenizer.decode(ids) for ids in tokenised.prompts]
    texts = read_prompts(tmp_path / "prompts.jsonl").rows
    assert inputs.prompts.rows == texts
    assert [
        text.endswith(f"User: {asked}\nAssistant:")
        for text, asked in zip(decoded, texts, strict=True)
    ] == [True] * ROWS["prompts"]
    assert len(tokenised.calib_prompts) == ROWS["calib_prompts"]
    assert len(tokenised.questions) == ROWS["questions"]
    assert tokenised.forks == (0, 4, 8)


def test_suffix_and_answers_are_the_models_own_tokens(tmp_path: Path) -> None:
    tokenised = parts(tmp_path)[2]
    decode = tiny().tokenizer.decode
    assert decode(tokenised.tail) == '\n{"choice":'
    answers = tokenised.answers
    assert [decode([i]).strip() for i in (*answers.true_ids, *answers.false_ids)] == [
        "true",
        "false",
    ]
    assert tokenised.eos_ids == {tiny().model.generation_config.eos_token_id}


def test_questions_are_optional(tmp_path: Path) -> None:
    assert parts(tmp_path, ask=False, questions=None)[2].questions == []
