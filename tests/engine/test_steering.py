"""Effect of steering on a block's output, and removal of its hooks."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="models run in torch")
pytest.importorskip("transformers", reason="models are those of transformers")

import torch

from isoklx.engine.steering import BASE, Steering, decoder_blocks, steered
from isoklx.errors import MeasureError
from tests.models.random_models import CONFIGS, HIDDEN, hooks_of, random_model, random_prompt

VECTOR = np.full(HIDDEN, HIDDEN**-0.5, np.float32)


def output_of_block(model, layer: int, steering=None, coefficients=()) -> torch.Tensor:
    seen: list[torch.Tensor] = []

    def see(_module, _inputs, output) -> None:
        seen.append(output[0] if isinstance(output, tuple) else output)

    ids = torch.tensor([random_prompt(5)] * 3)
    with torch.no_grad(), steered(model, steering or Steering("add", {layer: VECTOR}, "")) as work:
        work.rows(coefficients or [BASE] * 3)
        # After the hook that steers, so that it sees what the next block does.
        handle = decoder_blocks(model)[layer].register_forward_hook(see)
        model(input_ids=ids)
        handle.remove()
    return seen[0]


@pytest.mark.parametrize("name", CONFIGS)
def test_adding_moves_each_row_by_its_coefficient_and_leaves_base_rows(name: str) -> None:
    model = random_model(name)
    base = output_of_block(model, 1)
    moved = output_of_block(model, 1, Steering("add", {1: VECTOR}, ""), [2.0, BASE, -1.0])
    np.testing.assert_allclose(
        moved[0] - base[0], torch.tensor(2.0 * VECTOR).expand(5, -1), atol=1e-4
    )
    assert torch.equal(moved[1], base[1])
    np.testing.assert_allclose(moved[2] - base[2], torch.tensor(-VECTOR).expand(5, -1), atol=1e-4)


@pytest.mark.parametrize("name", CONFIGS)
def test_ablating_sets_the_component_along_the_vector(name: str) -> None:
    model = random_model(name)
    base = output_of_block(model, 1)
    moved = output_of_block(model, 1, Steering("ablate", {1: VECTOR}, ""), [2.0, BASE, 0.0])
    along = moved @ torch.tensor(VECTOR)
    np.testing.assert_allclose(along[0], 2.0, atol=1e-4)
    assert torch.equal(moved[1], base[1])
    np.testing.assert_allclose(along[2], 0.0, atol=1e-4)
    across = base[2] - (base[2] @ torch.tensor(VECTOR))[:, None] * torch.tensor(VECTOR)
    np.testing.assert_allclose(moved[2], across, atol=1e-4)


def test_hooks_are_removed_after_an_exception() -> None:
    model = random_model("llama")
    hooks = hooks_of(model)
    with pytest.raises(ZeroDivisionError), steered(model, Steering("add", {1: VECTOR}, "")):
        raise ZeroDivisionError
    assert hooks_of(model) == hooks


def test_a_missing_layer_is_named() -> None:
    hooks = hooks_of(random_model("llama"))
    steering = Steering("add", {1: VECTOR, 4: VECTOR}, "")
    with (
        pytest.raises(MeasureError, match="layer of a vector must be 0 to 3, got 4"),
        steered(random_model("llama"), steering),
    ):
        pass
    assert hooks_of(random_model("llama")) == hooks


def test_a_vector_of_another_width_is_named() -> None:
    steering = Steering("add", {1: VECTOR[:7]}, "")
    with pytest.raises(MeasureError, match="layer 1 must have the model's hidden size 32, got 7"):
        output_of_block(random_model("llama"), 1, steering)


def test_rows_without_a_coefficient_are_an_error() -> None:
    with pytest.raises(MeasureError, match="must output 2 rows, got 3"):
        output_of_block(random_model("llama"), 1, None, [1.0, 2.0])


@pytest.mark.parametrize(
    ("action", "vectors", "message"),
    [
        ("add", {}, "needs at least one vector"),
        ("turn", {1: VECTOR}, "action must be add or ablate, got 'turn'"),
        ("add", {3: np.array([1, np.nan], np.float32)}, "layer 3 must be finite, got nan at 1"),
        (
            "add",
            {3: np.ones((2, 2), np.float32)},
            r"layer 3 must have one axis, got shape \(2, 2\)",
        ),
        ("ablate", {3: 2 * VECTOR}, "layer 3 must have length 1 to be ablated, got 2"),
    ],
)
def test_vectors_that_cannot_steer_are_refused(action, vectors, message: str) -> None:
    with pytest.raises(MeasureError, match=message):
        Steering(action, vectors, "")
