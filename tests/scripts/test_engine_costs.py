from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="models run in torch")
pytest.importorskip("transformers", reason="models are those of transformers")

from isoklx.engine.chat import AnswerIds
from isoklx.engine.steering import Steering
from scripts.engine_costs import HEADINGS, Case, rows
from tests.engine.test_rollouts import steering_of
from tests.models.random_models import random_model, random_prompt


def test_every_column_is_measured_and_the_engine_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model("llama")
    monkeypatch.setattr(model.generation_config, "eos_token_id", None)
    steering: Steering = steering_of()
    prompts = [random_prompt(length, length) for length in (5, 8)]
    case = Case(model, steering, prompts, [0.0, 2.0], [9, 10], AnswerIds((5,), (6,)))
    (row,) = rows(case, sample=3)
    found = dict(zip(HEADINGS, row, strict=True))
    assert found["rollouts x tokens, tail"] == "4 x 48, 2"
    assert float(found["KL differs by"]) < 1e-5
    assert float(found["pmass differs by"]) < 1e-5
    assert float(found["times faster"]) > 1
