"""The self-tests pass on intact models, and catch known faults."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="models run in torch")
pytest.importorskip("transformers", reason="models are those of transformers")

from transformers.cache_utils import DynamicLayer

from isoklx.engine import selftests
from isoklx.engine.caches import Contexts
from isoklx.engine.selftests import SelfTests, self_test
from isoklx.engine.steering import Steered
from isoklx.errors import MeasureError
from tests.engine.test_rollouts import steering_of
from tests.models.random_models import CONFIGS, random_model, random_prompt


def found_on(name: str, action: str = "add") -> SelfTests:
    prompts = [random_prompt(length, length) for length in (6, 9, 12)]
    return self_test(random_model(name), steering_of(action), prompts, 2.0, [9, 10, 11])


@pytest.mark.parametrize("name", CONFIGS)
def test_intact_models_pass(name: str) -> None:
    found = found_on(name)
    assert max(found.batch, found.fork) < 2e-5
    assert found.zero < 1e-6
    assert found.padded


def test_ablation_skips_the_test_at_coefficient_0() -> None:
    assert found_on("llama", "ablate").zero is None


def cropping(self: Contexts, rows: np.ndarray) -> Contexts:
    """Branch the way that published cells did: from a later cache, cropped to the fork."""
    other = BRANCH(self, rows)
    ahead = np.full((rows.size, 3), 9)
    other.read(ahead)
    for layer in other._cache.layers:
        if isinstance(layer, DynamicLayer):
            layer.crop(-ahead.shape[1])
    return other


BRANCH = Contexts.branch


@pytest.mark.parametrize("name", ["qwen3_5", "qwen3_next", "lfm2"])
def test_a_hybrid_whose_cache_is_cropped_is_caught(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Contexts, "branch", cropping)
    with pytest.raises(
        MeasureError,
        match="self-test failed: rollouts with a cache differ from a recomputation without one",
    ):
        found_on(name)


def test_with_attention_only_a_crop_is_exact(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Contexts, "branch", cropping)
    assert found_on("llama").fork < 1e-4


def test_steering_that_does_not_reach_the_model_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Steered, "__call__", lambda _self, _layer, hidden: hidden)
    with pytest.raises(
        MeasureError, match="steering changes nothing: the largest KL at coefficient 2 is"
    ):
        found_on("llama")


def test_twins_that_are_steered_too_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Steered.rows
    monkeypatch.setattr(Steered, "rows", lambda self, c: rows(self, [2.0] * len(c)))
    with pytest.raises(MeasureError, match="differ from a recomputation without one"):
        found_on("llama")


def test_padding_that_is_read_makes_batches_of_equal_lengths(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forward = Contexts._forward

    def blind(self: Contexts, ids):
        self._mask = None
        return forward(self, ids)

    monkeypatch.setattr(Contexts, "_forward", blind)
    assert not found_on("llama").padded


def test_a_change_at_coefficient_0_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Steered.rows

    def leaking(self: Steered, coefficients) -> None:
        rows(self, [1e-1 if c == 0 else c for c in np.asarray(coefficients)])

    monkeypatch.setattr(Steered, "rows", leaking)
    with pytest.raises(MeasureError, match="a coefficient of 0 changes the model"):
        found_on("llama")


def test_a_batch_that_mixes_its_rows_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    read = Contexts.read

    def mixing(self: Contexts, ids):
        logits = read(self, ids)
        return logits + 0.1 * logits.mean(0) if logits.shape[0] > 2 else logits

    monkeypatch.setattr(Contexts, "read", mixing)
    with pytest.raises(MeasureError, match="a row of a batch differs from the same row alone"):
        found_on("llama")


def test_nan_does_not_pass() -> None:
    with pytest.raises(MeasureError, match="got nan"):
        selftests._check(float("nan"), 1e-4, "it differs")
