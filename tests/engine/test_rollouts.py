"""Rollouts against the plain loop, on many architectures."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="models run in torch")
pytest.importorskip("transformers", reason="models are those of transformers")

import torch

from isoklx.engine.chat import AnswerIds
from isoklx.engine.rollouts import Rollouts, roll_out
from isoklx.engine.steering import Steering
from isoklx.errors import MeasureError
from tests.engine.plain_loop import plain
from tests.models.random_models import CONFIGS, HIDDEN, hooks_of, random_model, random_prompt

ANSWERS = AnswerIds((5, 6), (7, 8))
TAIL = [9, 10, 11]
FORKS = [0, 1, 3, 7, 12]
WINDOW = 12
# Enough of them that some rollouts end early and others do not.
EOS = {2, *range(30, 37)}
DOSES = [0.0, 2.0, -4.0]


def steering_of(action: str = "add", layers: tuple[int, ...] = (1,)) -> Steering:
    rng = np.random.default_rng(0)
    vectors = {layer: rng.normal(size=HIDDEN).astype(np.float32) for layer in layers}
    return Steering(action, {k: v / np.linalg.norm(v) for k, v in vectors.items()}, "random")


def rolled(name: str = "llama", steering: Steering | None = None, **options) -> Rollouts:
    given = {
        "prompts": [random_prompt(7)],
        "coefficients": [2.0],
        "window": WINDOW,
        "forks": FORKS,
        "tails": [TAIL],
        "answers": ANSWERS,
        "eos_ids": EOS,
    }
    given |= options
    prompts, coefficients = given.pop("prompts"), given.pop("coefficients")
    return roll_out(random_model(name), steering or steering_of(), prompts, coefficients, **given)


def assert_is_plain(
    rollouts: Rollouts, name: str, steering: Steering, prompts, coefficients, eos_ids=EOS
) -> None:
    for row, (prompt, coefficient) in enumerate(zip(prompts, coefficients, strict=True)):
        tokens, kl, forks = plain(
            random_model(name),
            steering,
            coefficient,
            prompt,
            window=WINDOW,
            forks=FORKS,
            tail=TAIL,
            answers=ANSWERS,
            eos_ids=eos_ids,
        )
        assert rollouts.token_ids[row] == tokens
        assert rollouts.gen_len[row] == len(tokens)
        np.testing.assert_allclose(rollouts.kl[row, : len(tokens)], kl, atol=1e-5)
        assert np.isnan(rollouts.kl[row, len(tokens) :]).all()
        for place, fork in enumerate(FORKS):
            if fork not in forks:
                assert np.isnan(rollouts.pmass[row, place])
                assert np.isnan(rollouts.p_true[row, place])
                assert rollouts.top_id[row, place] == -1
                continue
            pmass, p_true, top = forks[fork]
            assert rollouts.pmass[row, place] == pytest.approx(pmass, abs=1e-4)
            assert rollouts.p_true[row, place] == pytest.approx(p_true, abs=1e-4)
            assert rollouts.top_id[row, place] == top


@pytest.mark.parametrize("action", ["add", "ablate"])
@pytest.mark.parametrize("lengths", [(7, 7), (4, 9)], ids=["equal lengths", "padded"])
@pytest.mark.parametrize("name", CONFIGS)
def test_rollouts_equal_the_plain_loop(name: str, lengths, action: str) -> None:
    steering = steering_of(action, (1, 2))
    first, second = (random_prompt(length, seed) for seed, length in enumerate(lengths))
    prompts = [first, first, second]
    rollouts = rolled(name, steering, prompts=prompts, coefficients=DOSES)
    assert_is_plain(rollouts, name, steering, prompts, DOSES)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_coefficient_of_0_leaves_the_model_unchanged(name: str) -> None:
    rollouts = rolled(name, prompts=[random_prompt(7)] * 3, coefficients=[0.0, 3.0, 0.0])
    assert np.nanmax(rollouts.kl[[0, 2]]) < 1e-6
    assert np.nanmax(rollouts.kl[1]) > 1e-6


def test_rollouts_that_end_at_once_are_probed_after_their_token() -> None:
    first = rolled(eos_ids=()).token_ids[0][0]
    rollouts = rolled(eos_ids={first})
    assert rollouts.token_ids == [[first]]
    assert np.isfinite(rollouts.kl[0]).tolist() == [True] + [False] * (WINDOW - 1)
    assert np.isfinite(rollouts.pmass[0]).tolist() == [True, True, False, False, False]
    assert_is_plain(rollouts, "llama", steering_of(), [random_prompt(7)], [2.0], {first})


def test_each_row_is_probed_with_its_own_suffix() -> None:
    prompts = [random_prompt(7, seed) for seed in range(3)]
    tails = [[9], [10, 11, 12], [13]]
    together = rolled(prompts=prompts, coefficients=DOSES, tails=tails)
    for row, (prompt, dose, tail) in enumerate(zip(prompts, DOSES, tails, strict=True)):
        alone = rolled(prompts=[prompt], coefficients=[dose], tails=[tail])
        np.testing.assert_allclose(together.pmass[row], alone.pmass[0], atol=1e-5)
        np.testing.assert_array_equal(together.top_id[row], alone.top_id[0])


def test_without_twins_all_but_kl_is_the_same() -> None:
    with_twins, without = rolled(), rolled(twins=False)
    assert without.kl is None
    assert without.token_ids == with_twins.token_ids
    np.testing.assert_allclose(without.pmass, with_twins.pmass, atol=1e-6)


def test_a_base_row_is_the_model_unsteered() -> None:
    base, at_zero = rolled(coefficients=[float("nan")]), rolled(coefficients=[0.0])
    assert base.token_ids == at_zero.token_ids
    assert np.nanmax(base.kl) < 1e-6


@pytest.mark.parametrize("name", ["llama", "qwen3_5"])
def test_sampled_tokens_depend_on_the_seed_only(name: str) -> None:
    prompts, seeds = [random_prompt(n, n) for n in (5, 8, 5)], [11, 12, 13]
    options = {"temperature": 1.0, "eos_ids": ()}
    together = rolled(name, prompts=prompts, coefficients=DOSES, seeds=seeds, **options)
    for row in range(3):
        alone = rolled(
            name,
            prompts=[prompts[row]],
            coefficients=[DOSES[row]],
            seeds=[seeds[row]],
            **options,
        )
        assert alone.token_ids[0] == together.token_ids[row]
        np.testing.assert_allclose(alone.kl[0], together.kl[row], atol=1e-5)
    assert (
        rolled(name, seeds=[1], **options).token_ids != rolled(name, seeds=[2], **options).token_ids
    )


def test_tokens_are_sampled_by_their_probability() -> None:
    prompt, rows = random_prompt(6), 4000
    drawn = rolled(
        prompts=[prompt] * rows,
        coefficients=[float("nan")] * rows,
        window=1,
        forks=[],
        twins=False,
        temperature=0.7,
        seeds=range(rows),
    )
    counts = np.bincount(np.ravel(drawn.token_ids), minlength=97)
    with torch.no_grad():
        logits = random_model("llama")(input_ids=torch.tensor([prompt])).logits[0, -1]
    expected = (logits / 0.7).softmax(0).numpy() * rows
    assert ((counts - expected) ** 2 / expected).sum() < 97 + 4 * np.sqrt(2 * 97)


def test_sampling_needs_a_seed_per_row() -> None:
    with pytest.raises(MeasureError, match="needs one seed per row"):
        rolled(temperature=1.0)


def test_the_model_is_restored() -> None:
    model = random_model("llama")
    hooks = hooks_of(model)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    model.model.layers[2].train()
    try:
        rolled()
        assert [m for m in model.modules() if m.training] == list(model.model.layers[2].modules())
    finally:
        model.eval()
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    assert hooks_of(model) == hooks
    assert not any(weight.is_inference() for weight in model.state_dict().values())


def test_logits_that_are_not_finite_are_refused() -> None:
    hooks = hooks_of(random_model("llama"))
    with pytest.raises(MeasureError, match=r"row 1 \(coefficient inf\) is nan after 0"):
        rolled(prompts=[random_prompt(7)] * 2, coefficients=[1.0, float("inf")])
    assert hooks_of(random_model("llama")) == hooks


@pytest.mark.parametrize("name", CONFIGS)
def test_a_branch_does_not_change_its_origin(name: str) -> None:
    asked, unasked = rolled(name, forks=range(WINDOW + 1)), rolled(name, forks=[])
    assert asked.token_ids == unasked.token_ids
    np.testing.assert_allclose(asked.kl, unasked.kl, atol=1e-6)
