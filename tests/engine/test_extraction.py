"""Directions from pairs: against plain loops, and on models whose states are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

torch = pytest.importorskip("torch", reason="needs the extra `run`")
pytest.importorskip("transformers", reason="needs the extra `run`")

from isoklx.engine.activations import (
    METHODS,
    activations,
    direction,
    extract,
    last_states,
    residual_norms,
    steering_of,
)
from isoklx.engine.inputs import Pair
from isoklx.errors import MeasureError, UsageError
from tests.engine.tokenizers_of_characters import CHATML, tokenizer_of_characters
from tests.models.random_models import CONFIGS, HIDDEN, hooks_of, random_model, random_prompt

PAIRS = [
    Pair("a?", "yes, a", "no"),
    Pair("is b c?", "yes", "no, it is not"),
    Pair(None, "so it is", "so it is not, ever"),
    Pair("d?", "it is", "it isn't"),
]
ADDED = ("mean_diff", "pca")


class Letters:
    """A tokenizer of a model's whole vocabulary: each character is one of its tokens."""

    chat_template = None
    eos_token_id = 2

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        return {"input_ids": [3 + ord(character) % 90 for character in text]}


def states_one_by_one(name: str, sequences: list[list[int]], layer: int) -> np.ndarray:
    """The same by the model's own hidden states, one sequence at a time and without padding."""
    # The first of them is the embedding, but for Mamba, whose first is the first block's output.
    model = random_model(name)
    found = []
    for ids in sequences:
        with torch.no_grad():
            out = model(torch.tensor([ids]), output_hidden_states=True, use_cache=False)
        found.append(out.hidden_states[layer + (name != "mamba")][0, -1].numpy())
    return np.array(found)


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_states_of_a_batch_are_those_of_its_sequences_one_by_one(name: str) -> None:
    sequences = [random_prompt(length, seed=length) for length in (9, 3, 14, 3, 1)]
    states = last_states(random_model(name), sequences, [0, 2], batch=3)
    for layer, found in states.items():
        expected = states_one_by_one(name, sequences, layer)
        np.testing.assert_allclose(found, expected, atol=1e-5 * max(1, np.abs(expected).max()))
        assert found.dtype == np.float32


def test_the_model_is_restored_even_after_a_failure() -> None:
    model = random_model("llama")
    model.train()
    hooks = hooks_of(model)
    try:
        with pytest.raises(IndexError):
            last_states(model, [[1000]], [0, 1])
        assert model.training
        assert hooks_of(model) == hooks
    finally:
        model.eval()


def test_norms_are_the_median_lengths_of_the_states_at_the_ends_of_prompts() -> None:
    sequences = [random_prompt(length, seed=length) for length in (5, 9, 7)]
    [norm] = residual_norms(random_model("gpt2"), sequences, [1]).values()
    lengths = [
        sum(float(x) ** 2 for x in row) ** 0.5 for row in states_one_by_one("gpt2", sequences, 1)
    ]
    assert norm == pytest.approx(sorted(lengths)[1], rel=1e-5)


@pytest.mark.parametrize("layers", [[1], [0, 2]])
def test_the_mean_difference_is_that_of_a_plain_loop_over_the_pairs(layers: list[int]) -> None:
    tokenizer = Letters()
    steering = extract(random_model("llama"), tokenizer, PAIRS, layers, "mean_diff", batch=3)
    assert (steering.action, steering.method) == ("add", "mean_diff")
    assert list(steering.vectors) == layers
    for layer, vector in steering.vectors.items():
        total = np.zeros(HIDDEN)
        for pair in PAIRS:
            begun = "" if pair.prompt is None else f"User: {pair.prompt}\nAssistant: "
            texts = [begun + pair.positive, begun + pair.negative]
            ids = [tokenizer(text)["input_ids"] for text in texts]
            positive, negative = states_one_by_one("llama", ids, layer)
            total += positive - negative
        np.testing.assert_allclose(vector, total / np.linalg.norm(total), atol=1e-5)
        assert vector.dtype == np.float32


def test_ablation_takes_the_mean_difference_and_ablates_it() -> None:
    states = activations(random_model("llama"), Letters(), PAIRS, [1])
    ablated = steering_of(states, "directional_ablation")
    added = steering_of(states, "mean_diff")
    assert ablated.action == "ablate"
    np.testing.assert_array_equal(ablated.vectors[1], added.vectors[1])


def test_the_state_is_that_of_the_answer_or_of_the_end_of_its_turn() -> None:
    tokenizer = tokenizer_of_characters(CHATML, words=())
    model = random_model("llama")
    limit = model.config.vocab_size
    pairs = [Pair("!", "!!", "!")]
    content = activations(model, Clipped(tokenizer, limit), pairs, [1])
    last = activations(model, Clipped(tokenizer, limit), pairs, [1], token="last")
    whole = tokenizer.apply_chat_template(
        [{"role": "user", "content": "!"}, {"role": "assistant", "content": "!!"}], tokenize=False
    )
    ids = [token % limit for token in tokenizer(whole)["input_ids"]]
    closing = len("\n") + 1  # <|im_end|> and a line's end
    for states, sequence in ((last, ids), (content, ids[:-closing])):
        expected = states_one_by_one("llama", [sequence], 1)
        np.testing.assert_allclose(states.positive[1], expected, atol=1e-5)


class Clipped:
    """A tokenizer whose tokens are folded into a small model's vocabulary."""

    def __init__(self, tokenizer: object, limit: int) -> None:
        self._tokenizer, self._limit = tokenizer, limit

    def __getattr__(self, name: str) -> object:
        return getattr(self._tokenizer, name)

    def __call__(self, text: str, **options: object) -> dict[str, list[int]]:
        ids = self._tokenizer(text, **options)["input_ids"]
        return {"input_ids": [token % self._limit for token in ids]}


STATES = hnp.arrays(np.float32, (5, 4), elements=st.floats(-100, 100, width=32))


@given(positive=STATES, negative=STATES, method=st.sampled_from(METHODS))
def test_a_direction_is_a_unit_vector_and_swapping_sides_negates_it(
    positive: np.ndarray, negative: np.ndarray, method: str
) -> None:
    try:
        found = direction(positive, negative, method)
    except MeasureError:
        return
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-6)
    mean = (positive.astype(float) - negative).mean(axis=0)
    along = float(found @ mean)
    assert along >= -1e-6 * np.linalg.norm(mean)
    if method != "pca_centred" and along > 1e-3 * np.linalg.norm(mean):
        np.testing.assert_allclose(direction(negative, positive, method), -found, atol=1e-5)


def test_the_first_component_is_that_of_power_iteration() -> None:
    rng = np.random.default_rng(0)
    negative = rng.normal(size=(12, 6))
    positive = negative + rng.normal(size=(12, 6)) @ np.diag([3, 1, 1, 1, 1, 0.5]) + 1
    for method, centre in (("pca", False), ("pca_centred", True)):
        rows = [p - n for p, n in zip(positive, negative, strict=True)]
        if centre:
            rows = [row - sum(rows) / len(rows) for row in rows]
        v = np.ones(6)
        for _ in range(2000):
            v = sum(row * float(row @ v) for row in rows)
            v = v / np.sqrt(sum(x * x for x in v))
        found = direction(positive, negative, method)
        assert abs(float(found @ v)) == pytest.approx(1, abs=1e-6)


def test_centring_removes_the_common_shift() -> None:
    rng = np.random.default_rng(1)
    negative = rng.normal(size=(40, 8))
    noise = rng.normal(size=(40, 8)) * [0, 1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]
    positive = negative + 5 * np.eye(8)[0] + noise
    assert direction(positive, negative, "pca")[0] > 0.9
    assert abs(direction(positive, negative, "pca_centred")[1]) > 0.9


def test_a_direction_orthogonal_to_the_shift_has_a_sign() -> None:
    negative = np.zeros((2, 3))
    positive = np.array([[1.0, -2, 0], [1, 2, 0]])
    np.testing.assert_allclose(direction(positive, negative, "pca"), [0, 1, 0], atol=1e-12)


@pytest.mark.parametrize(
    ("method", "positive", "negative"),
    [
        ("mean_diff", np.ones((3, 4)), np.ones((3, 4))),
        ("mean_diff", np.array([[1.0, 0], [-1, 0]]), np.zeros((2, 2))),
        ("pca", np.ones((3, 4)), np.ones((3, 4)) + 1e-9),
        ("pca_centred", np.ones((1, 4)), np.zeros((1, 4))),
        ("directional_ablation", np.zeros((2, 4)), np.zeros((2, 4))),
    ],
)
def test_equal_sides_are_refused(method: str, positive: np.ndarray, negative: np.ndarray) -> None:
    with pytest.raises(MeasureError, match=f"do not differ: {method} finds no direction"):
        direction(positive, negative, method)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_states_that_are_not_finite_are_refused_with_pair_and_layer(bad: float) -> None:
    from isoklx.engine.activations import Activations

    positive = np.ones((3, 4), np.float32)
    positive[1, 2] = bad
    states = Activations({5: positive}, {5: np.zeros((3, 4), np.float32)})
    with pytest.raises(MeasureError, match="layer 5: the states of pair 1 are not finite"):
        steering_of(states, "pca")


def test_unknown_methods_and_tokens_are_refused_before_the_model_runs() -> None:
    with pytest.raises(UsageError, match="method must be one of mean_diff, pca, pca_centred, "):
        extract(None, Letters(), PAIRS, [0], "lda")
    with pytest.raises(UsageError, match="token must be one of content, last, got 'first'"):
        extract(None, Letters(), PAIRS, [0], "pca", token="first")
    with pytest.raises(UsageError, match="needs at least one pair"):
        extract(None, Letters(), [], [0], "pca")
