"""What no cell can be made with is refused before any model is touched."""

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


def test_what_is_not_said_has_a_value_that_will_do() -> None:
    settings = Settings()
    assert settings.alphas[0] == 0
    assert fork_points(settings.forks, settings.window)[-1] == settings.window


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 0}, "window is 0; give at least 1"),
        ({"batch": -1}, "batch is -1; give at least 1"),
        ({"statistic": "p96"}, "statistic is 'p96'; give 'p95' or 'rms' or 'mean'"),
        ({"token": "first"}, "token is 'first'; give 'content' or 'last'"),
        ({"dtype": "int8"}, "dtype is 'int8'; give 'auto' or 'float32' or 'bfloat16' or 'float16'"),
        ({"target_kl": 0}, "target_kl is 0; give nats above 0"),
        ({"target_kl": math.nan}, "target_kl is nan; give nats above 0"),
        ({"temperature": -0.5}, "temperature is -0.5; give 0 or more"),
        ({"temperature": math.inf}, "temperature is inf; give 0 or more"),
        ({"alphas": ()}, "no alpha was given"),
        ({"alphas": (0.0, math.nan)}, "alpha is nan; give finite doses"),
        ({"alphas": (0.0, 1.0, 1.0 + 1e-12)}, "alphas 1 and 1 are the same dose; give it once"),
        ({"alphas": (0.0, -0.0)}, "alphas 0 and -0 are the same dose; give it once"),
        ({"forks": ()}, "no fork was given"),
        ({"forks": 0}, "forks is 0; give log, every how many tokens, or several"),
        ({"forks": 257}, "forks is 257, and the window 256 tokens; give 256 or less"),
        ({"forks": (0, 257)}, "fork 257 is outside of the window, 0 to 256 tokens"),
        ({"forks": (-1,)}, "fork -1 is outside of the window, 0 to 256 tokens"),
        ({"forks": (3, 1, 3)}, "fork 3 is given twice"),
        (
            {"vector": Path("a.npy"), "pairs": Path("a.jsonl")},
            "a vector from a file needs no pairs; give one of both",
        ),
        (
            {"questions": Path("a.jsonl"), "ask": False},
            "questions are named, and are not to be asked; leave one of both out",
        ),
    ],
)
def test_a_value_that_will_not_do_is_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        Settings(**options)
    assert str(error.value) == message


@given(st.integers(1, 5000))
def test_forks_are_spread_over_any_window(window: int) -> None:
    points = fork_points("log", window)
    assert points[0] == 0
    assert points[-1] == window
    assert list(points) == sorted({*points})
    assert len(points) <= 14
    # Evenly in log, but for whole tokens: no gap is much wider than the one after it.
    ratios = [b / a for a, b in pairwise(points[1:])]
    assert all(later <= 2 * window ** (1 / 12) for later in ratios)


@given(st.integers(1, 500), st.integers(1, 500))
def test_every_so_many_tokens_are_multiples_within_the_window(window: int, every: int) -> None:
    if every > window:
        with pytest.raises(UsageError, match=f"forks is {every}"):
            fork_points(every, window)
    else:
        assert fork_points(every, window) == tuple(n for n in range(window + 1) if n % every == 0)


def test_several_forks_are_put_in_order() -> None:
    assert fork_points((8, 0, 3), 8) == (0, 3, 8)
