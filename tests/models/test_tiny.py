"""The tiny model: what is shipped is what its script makes, and it does what models do."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra `run`")
pytest.importorskip("transformers", reason="needs the extra `run`")

import torch
from safetensors import safe_open

from isoklx.engine.activations import extract
from isoklx.engine.chat import (
    answer_ids,
    context_length,
    encode_prompts,
    eos_ids,
    prompt_ids,
    tail_ids,
)
from isoklx.engine.inputs import read_pairs, read_prompts, read_questions
from isoklx.engine.rollouts import Rollouts, roll_out
from isoklx.engine.steering import BASE, Steering
from scripts import train_tiny_model
from tests.models.tiny_model import TINY, tiny_model

WINDOW, FORKS = 64, (0, 1, 4, 16, 64)
LAYER = 2
"""0.6 of four blocks."""


@functools.cache
def steering(method: str) -> Steering:
    pairs = read_pairs(TINY / "pairs.jsonl").rows
    return extract(*tiny_model(), pairs, [LAYER], method)


def rolled_out(method: str, name: str, coefficients: list[float]) -> Rollouts:
    """Rows are prompts, and within each the coefficients."""
    model, tokenizer = tiny_model()
    prompts = [prompt_ids(tokenizer, prompt) for prompt in read_prompts(TINY / name).rows[:8]]
    return roll_out(
        model,
        steering(method),
        [prompt for prompt in prompts for _ in coefficients],
        coefficients * len(prompts),
        window=WINDOW,
        forks=FORKS,
        tails=[tail_ids(tokenizer)],
        answers=answer_ids(tokenizer),
        eos_ids=eos_ids(model, tokenizer),
    )


@functools.cache
def one_nat(method: str) -> float:
    """The coefficient at which p95 of the KL of the calibration prompts is about 1."""
    coefficients = np.geomspace(2, 60, 15).tolist()
    kl = rolled_out(method, "calib_prompts.jsonl", coefficients).kl
    p95 = [np.nanquantile(kl[place::15], 0.95) for place in range(15)]
    first = int(np.flatnonzero(np.array(p95) > 1)[0])
    between = slice(first - 1, first + 1)
    return float(np.exp(np.interp(0, np.log(p95[between]), np.log(coefficients[between]))))


def said(rollouts: Rollouts) -> list[str]:
    return tiny_model()[1].batch_decode(rollouts.token_ids)


def test_the_model_is_small_and_computes_in_float32_what_it_stores_in_float16() -> None:
    weights = TINY / "model.safetensors"
    assert weights.stat().st_size < 3e6
    parameters = dict(tiny_model()[0].named_parameters())
    with safe_open(weights, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118 -- it is no dict
            assert file.get_tensor(name).dtype == torch.float16
            assert parameters[name].dtype == torch.float32
            assert torch.equal(parameters[name], file.get_tensor(name).float())


def test_the_inputs_and_the_tokenizer_are_what_the_script_writes(tmp_path: Path) -> None:
    train_tiny_model.write_inputs(tmp_path)
    train_tiny_model.tokenizer().save_pretrained(tmp_path)
    made = sorted(path.name for path in tmp_path.iterdir())
    assert "pairs.jsonl" in made
    for name in made:
        assert (tmp_path / name).read_text() == (TINY / name).read_text(), name


def test_no_prompt_is_in_two_of_its_files() -> None:
    names = ("pairs", "prompts", "calib_prompts", "questions")
    read = (read_pairs, read_prompts, read_prompts, read_questions)
    every = [
        getattr(row, "prompt", row)
        for name, reader in zip(names, read, strict=True)
        for row in reader(TINY / f"{name}.jsonl").rows
    ]
    assert len(set(every)) == len(every)


def test_a_longer_window_than_any_answer_fits_its_context() -> None:
    model, tokenizer = tiny_model()
    prompts = read_prompts(TINY / "prompts.jsonl")
    tail = len(tail_ids(tokenizer))
    encode_prompts(tokenizer, prompts, context=context_length(model), window=256, tail=tail)


def test_unsteered_it_answers_rightly_and_says_so_wherever_it_is_asked() -> None:
    rollouts = rolled_out("mean_diff", "prompts.jsonl", [BASE])
    assert np.nanmin(rollouts.pmass) > 0.9
    # Prompts take turns: wrong claims and right ones.
    right = np.arange(8) % 2 == 1
    np.testing.assert_array_equal(rollouts.p_true[:, 0] > 0.5, right)
    assert [text.startswith(" Yes, the ") for text in said(rollouts)] == right.tolist()
    assert all(text.startswith((" Yes, the ", " No, the ")) for text in said(rollouts))


def test_its_rollouts_end_in_texts_of_several_lengths() -> None:
    lengths = rolled_out("mean_diff", "prompts.jsonl", [BASE]).gen_len
    assert len(set(lengths.tolist())) > 3


@pytest.mark.parametrize("method", ["mean_diff", "pca", "directional_ablation"])
def test_one_nat_takes_the_refusals_away(method: str) -> None:
    texts = said(rolled_out(method, "prompts.jsonl", [BASE, one_nat(method)]))
    before, after = texts[0::2], texts[1::2]
    assert sum(text.startswith(" No") for text in before) == 4
    assert sum(text.startswith(" No") for text in after) < 2


@pytest.mark.parametrize("method", ["mean_diff", "pca"])
def test_answers_give_way_as_the_dose_rises(method: str) -> None:
    doses = [0.0, 1.0, 2.0, 4.0]
    rollouts = rolled_out(method, "prompts.jsonl", [dose * one_nat(method) for dose in doses])
    pmass = [np.nanmean(rollouts.pmass[place::4]) for place in range(4)]
    kl = [np.nanquantile(rollouts.kl[place::4], 0.95) for place in range(4)]
    assert sorted(pmass, reverse=True) == pmass
    assert pmass[0] > 0.9
    assert pmass[3] < 0.5
    assert kl[0] < 1e-5
    assert 0.4 < kl[1] < kl[2]
    assert kl[2] > 2.5
