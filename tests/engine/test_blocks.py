"""Decoder blocks of many architectures, and the layer numbers that name them."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="models run in torch")
pytest.importorskip("transformers", reason="models are those of transformers")

import transformers as hf
from torch import nn

from isoklx.engine.steering import decoder_blocks, layer_numbers, refuse_other_outputs
from isoklx.errors import MeasureError, UsageError
from tests.engine.plain_loop import blocks
from tests.models.random_models import CONFIGS, UNSTEERABLE, hooks_of, random_model


@pytest.mark.parametrize("name", CONFIGS)
def test_blocks_are_found_in_every_architecture(name: str) -> None:
    assert decoder_blocks(random_model(name)) is blocks(random_model(name))


def test_two_lists_of_blocks_are_an_error() -> None:
    model = random_model("llama")
    model.model.others = nn.ModuleList(nn.Identity() for _ in range(4))
    try:
        with pytest.raises(
            MeasureError, match="LlamaForCausalLM must have one list of 4 blocks, got 2"
        ):
            decoder_blocks(model)
    finally:
        del model.model.others


@pytest.mark.parametrize("name", CONFIGS)
def test_the_output_of_every_block_is_checked_and_hooks_are_removed(name: str) -> None:
    model = random_model(name)
    before = hooks_of(model)
    refuse_other_outputs(model)
    assert hooks_of(model) == before


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "Gemma3nTextConfig",
            r"Gemma3nForCausalLM .*: the output of block 0 .* \[2, 3, 32\], got \[4, 2, 3, 32\]",
        ),
        (
            "DeepseekV4Config",
            r"DeepseekV4ForCausalLM .*: the output of block 0 .* \[2, 3, 32\], got \[2, 3, 4, 32\]",
        ),
        ("DoryConfig", r"DoryForCausalLM .* got \[2, 3, 32\] and \[2, 3, 32\]"),
        (
            "CpmAntConfig",
            r"CpmAntForCausalLM .*: the output of block 0 .* \[2, 3, 32\], got \[2, 35, 32\]",
        ),
        (
            "OpenAIGPTConfig",
            r"OpenAIGPTLMHeadModel .*: the output of block 0 .* \[2, 3, 32\], got list",
        ),
    ],
)
def test_blocks_with_other_outputs_are_refused_by_name(name: str, said: str) -> None:
    if not hasattr(hf, name):
        pytest.skip(f"this version of transformers has no {name}")
    model = hf.AutoModelForCausalLM.from_config(getattr(hf, name)(**UNSTEERABLE[name])).eval()
    with pytest.raises(MeasureError, match=f"{said}$"):
        refuse_other_outputs(model)


@pytest.mark.parametrize(
    ("layers", "numbers"),
    [
        (0, (0,)),
        (3, (3,)),
        (0.6, (2,)),
        (0.75, (3,)),
        (0.0, (0,)),
        ([3, 0.25], (1, 3)),
        (2.0, (2,)),
    ],
)
def test_a_layer_is_a_number_or_a_fraction_of_the_depth(layers, numbers) -> None:
    assert layer_numbers(random_model("llama"), layers) == numbers


@pytest.mark.parametrize("layers", [4, -1, 1.5, [0, 9], float("nan")])
def test_a_missing_layer_is_refused(layers) -> None:
    with pytest.raises(UsageError, match="not found: the model has blocks 0 to 3"):
        layer_numbers(random_model("llama"), layers)


def test_a_layer_named_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="layer 1 is named twice"):
        layer_numbers(random_model("llama"), [1, 0.25])
    with pytest.raises(UsageError, match="at least one"):
        layer_numbers(random_model("llama"), [])
