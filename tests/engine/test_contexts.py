"""Contexts of many architectures, and models that cannot be branched."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="models run in torch")
pytest.importorskip("transformers", reason="models are those of transformers")

import torch
import transformers

from isoklx.engine.caches import Contexts, at_rest, reads_together
from isoklx.errors import MeasureError
from tests.models.random_models import CONFIGS, HIDDEN, VOCABULARY, random_model, random_prompt


@pytest.mark.parametrize("name", CONFIGS)
def test_reading_in_parts_equals_reading_at_once(name: str) -> None:
    model, ids = random_model(name), random_prompt(20)
    with at_rest(model):
        contexts = Contexts(model, together=reads_together(model))
        contexts.start([ids[:9]])
        contexts.read(np.array([ids[9:10]]))
        in_parts = contexts.read(np.array([ids[10:]]))
        whole = model(input_ids=torch.tensor([ids]), use_cache=False).logits[:, -1]
    torch.testing.assert_close(in_parts.softmax(1), whole.softmax(1), atol=1e-5, rtol=1e-4)


def test_a_model_that_loses_its_state_reads_one_token_at_a_time() -> None:
    with at_rest(random_model("mamba")):
        assert not reads_together(random_model("mamba"))
    with at_rest(random_model("qwen3_5")):
        assert reads_together(random_model("qwen3_5"))


KEPT_ELSEWHERE = {
    "rwkv": lambda: transformers.RwkvConfig(
        vocab_size=VOCABULARY, hidden_size=HIDDEN, num_hidden_layers=2
    ),
    "recurrent_gemma": lambda: transformers.RecurrentGemmaConfig(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        lru_width=HIDDEN,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
    ),
    "minimax": lambda: transformers.MiniMaxConfig(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        layer_types=["linear_attention", "full_attention"],
        num_local_experts=2,
        block_size=8,
    ),
}


@pytest.mark.parametrize("name", KEPT_ELSEWHERE)
def test_a_model_whose_rows_cannot_be_branched_is_refused(name: str) -> None:
    model = transformers.AutoModelForCausalLM.from_config(KEPT_ELSEWHERE[name]()).eval()
    with pytest.raises(
        MeasureError, match="cannot be branched: its cache must be DynamicCache, got"
    ):
        Contexts(model, together=True).start([[3, 4, 5]])
