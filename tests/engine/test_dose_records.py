"""Rollouts of doses as the arrays and lines of a cell."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra run")
pytest.importorskip("transformers", reason="needs the extra run")

from isoklx.engine.chat import AnswerIds
from isoklx.engine.dose_records import DoseRollouts
from isoklx.engine.rollouts import Rollouts
from tests.engine.tokenizers_of_characters import tokenizer_of_characters

TOKENIZER = tokenizer_of_characters()
TRUE, FALSE = (TOKENIZER.get_vocab()[word] for word in (" true", " false"))
A, B = (TOKENIZER.get_vocab()[letter] for letter in "ab")
DOSES, PROMPTS, FORKS = (0.0, 2.0), ([A], [A, B], [B]), (0, 1, 2)
LENGTHS = [2, 1, 2, 1, 2, 2]


@pytest.fixture
def doses() -> DoseRollouts:
    """Each number says its row: dose by dose, and within each prompt by prompt."""
    rows = np.arange(6, dtype=np.float32)[:, None]
    ends = np.array(LENGTHS)[:, None]
    kl = np.where(np.arange(2) < ends, 10 * rows + np.arange(2), np.nan)
    pmass = np.where(np.array(FORKS) <= ends, rows / 10 + np.array(FORKS) / 100, np.nan)
    top = np.where(np.isnan(pmass), -1, np.array([[TRUE, FALSE, A]]))
    tokens = [[A, B][:length] for length in LENGTHS]
    rollouts = Rollouts(tokens, np.array(LENGTHS, np.int32), kl, pmass, pmass / 2, top)
    return DoseRollouts("qa", DOSES, (0.0, 6.0), ("x", "y", "z"), PROMPTS, FORKS, [B, B], rollouts)


def test_arrays_are_by_dose_and_prompt(doses: DoseRollouts) -> None:
    arrays = doses.arrays()
    assert arrays["kl"].shape == (2, 3, 2)
    assert arrays["kl"][1, 2].tolist() == [50, 51]
    assert np.isnan(arrays["kl"][0, 1, 1])
    assert arrays["gen_len"].tolist() == [[2, 1, 2], [1, 2, 2]]
    assert arrays["pmass_eval"].shape == (2, 3, 3)
    assert arrays["pmass_eval"][1, 1, 2] == pytest.approx(0.42)
    assert arrays["repetition"].shape == (2, 3)


def test_answers_are_labelled(doses: DoseRollouts) -> None:
    found = doses.answers(TOKENIZER, AnswerIds((TRUE,), (FALSE,)))
    assert found["answers"]["argmax_str"][0].tolist() == [
        [" true", " false", "a"],
        [" true", " false", None],
        [" true", " false", "a"],
    ]
    assert found["answers"]["answer_label"][0, 0].tolist() == ["true", "false", None]
    assert found["answers"]["was_thinking"][0, 1].tolist() == [False, False, None]
    assert found["p_true"][1, 2, 0] == pytest.approx(0.25)
    assert found["gen_len_qa"].tolist() == [[2, 1, 2], [1, 2, 2]]


def test_a_line_suffices_to_recompute_its_numbers(doses: DoseRollouts) -> None:
    lines = list(doses.generations(TOKENIZER))
    assert [(line["alpha"], line["coeff"], line["prompt_idx"]) for line in lines] == [
        *((0.0, 0.0, prompt) for prompt in range(3)),
        *((2.0, 6.0, prompt) for prompt in range(3)),
    ]
    assert lines[4] == {
        "kind": "qa",
        "alpha": 2.0,
        "coeff": 6.0,
        "prompt_idx": 1,
        "prompt": "y",
        "prompt_ids": [A, B],
        "token_ids": [A, B],
        "tokens": ["a", "b"],
        "gen_text": "ab",
        "gen_len": 2,
        "fork_tail_ids": [B, B],
    }
