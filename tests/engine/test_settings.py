"""Invalid settings are refused before a model is loaded."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoklx.engine.settings import Settings, fork_points
from isoklx.errors import UsageError


def test_defaults_are_valid() -> None:
    settings = Settings()
    assert settings.alphas[0] == 0
    assert fork_points(settings.forks, settings.window)[-1] == settings.window


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 0}, "window must be at least 1, got 0"),
        ({"batch": -1}, "batch must be at least 1, got -1"),
        ({"statistic": "p96"}, "statistic must be 'p95' or 'rms' or 'mean', got 'p96'"),
        ({"token": "first"}, "token must be 'content' or 'last', got 'first'"),
        (
            {"dtype": "int8"},
            "dtype must be 'auto' or 'float32' or 'bfloat16' or 'float16', got 'int8'",
        ),
        ({"target_kl": 0}, "target_kl must be above 0 nats, got 0"),
        ({"target_kl": math.nan}, "target_kl must be above 0 nats, got nan"),
        ({"temperature": -0.5}, "temperature must be 0 or more, got -0.5"),
        ({"temperature": math.inf}, "temperature must be 0 or more, got inf"),
        ({"alphas": ()}, "alphas must name at least one dose, got none"),
        ({"alphas": (0.0, math.nan)}, "alpha must be finite, got nan"),
        ({"alphas": (0.0, 1.0, 1.0 + 1e-12)}, "alphas 1 and 1 are the same dose; give one of them"),
        ({"alphas": (0.0, -0.0)}, "alphas 0 and -0 are the same dose; give one of them"),
        ({"forks": ()}, "forks must name at least one token, got none"),
        ({"forks": 0}, "forks must be log, a step of at least 1, or a list of tokens, got 0"),
        ({"forks": 257}, "forks must be at most the window of 256 tokens, got 257"),
        ({"forks": (0, 257)}, "fork must be within the window, 0 to 256 tokens, got 257"),
        ({"forks": (-1,)}, "fork must be within the window, 0 to 256 tokens, got -1"),
        ({"forks": (3, 1, 3)}, "fork 3 is given twice"),
        (
            {"vector": Path("a.npy"), "pairs": Path("a.jsonl")},
            "pairs must not be given with vector: no direction is sought; omit one of them",
        ),
        (
            {"questions": Path("a.jsonl"), "ask": False},
            "questions must not be given with noquestions; omit one of them",
        ),
    ],
)
def test_an_invalid_value_is_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        Settings(**options)
    assert str(error.value) == message


@given(st.integers(1, 5000))
def test_log_forks_cover_any_window(window: int) -> None:
    points = fork_points("log", window)
    assert points[0] == 0
    assert points[-1] == window
    assert list(points) == sorted({*points})
    assert len(points) <= 14
    # Evenly spaced in log, up to rounding: no gap is much wider than the one after it.
    ratios = [b / a for a, b in pairwise(points[1:])]
    assert all(later <= 2 * window ** (1 / 12) for later in ratios)


@given(st.integers(1, 500), st.integers(1, 500))
def test_a_fork_step_gives_multiples_within_the_window(window: int, every: int) -> None:
    if every > window:
        with pytest.raises(
            UsageError, match=f"forks must be at most the window of {window} tokens, got {every}$"
        ):
            fork_points(every, window)
    else:
        assert fork_points(every, window) == tuple(n for n in range(window + 1) if n % every == 0)


def test_listed_forks_are_sorted() -> None:
    assert fork_points((8, 0, 3), 8) == (0, 3, 8)
