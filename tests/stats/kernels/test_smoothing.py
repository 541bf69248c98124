from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from isoklx.stats.kernels import smoothing
from isoklx.stats.kernels.smoothing import EDGES, moving_mean

NAN = math.nan

# Spikes beside tiny values, and gaps.
nats = st.one_of(
    st.sampled_from([1e4, 1e-6, 1e-7, 0.0, 1.0, NAN]), st.floats(1e-9, 20.0), st.just(NAN)
)
widths = st.integers(1, 9)


def rows(dtype: str = "f8") -> st.SearchStrategy[np.ndarray]:
    shapes = st.tuples(st.integers(1, 3), st.integers(0, 30))
    return arrays(dtype, shapes, elements=nats.map(lambda x: np.dtype(dtype).type(x).item()))


def by_hand(row: list[float], width: int, edges: str) -> list[float]:
    """The definition as a plain loop."""
    there = [i for i, x in enumerate(row) if not math.isnan(x)]
    if not there or (edges == "repeat" and there[-1] - there[0] + 1 < width):
        return row
    smoothed = []
    for i, x in enumerate(row):
        start = i - width // 2
        places = range(start, start + width)
        if edges == "repeat":
            window = [row[min(max(j, there[0]), there[-1])] for j in places]
        else:
            window = [row[j] for j in places if there[0] <= j <= there[-1]]
        kept = [y for y in window if not math.isnan(y)]
        smoothed.append(NAN if math.isnan(x) else math.fsum(kept) / len(kept))
    return smoothed


both_edges = pytest.mark.parametrize("edges", EDGES)


@both_edges
@given(rows(), st.one_of(widths, st.integers(20, 90)))
def test_it_equals_the_mean_of_the_window(edges, series, width):
    expected = [by_hand(row, width, edges) for row in series.tolist()]
    expected = np.array(expected).reshape(series.shape)
    np.testing.assert_allclose(moving_mean(series, width, edges), expected, rtol=1e-12, atol=0)


def test_repeated_edges_have_the_weight_of_the_older_script():
    first = np.eye(1, 512)[0]
    assert moving_mean(first, 65, "repeat")[0] == pytest.approx(33 / 65)
    assert moving_mean(first, 65)[0] == pytest.approx(1 / 33)


def test_a_spike_leaves_no_rounding_error():
    series = np.full(4096, 1e-6)
    series[100] = 1e4
    np.testing.assert_allclose(moving_mean(series, 65)[200:], 1e-6, rtol=1e-15)


@both_edges
@given(rows("f4"))
def test_width_one_is_the_identity(edges, series):
    np.testing.assert_array_equal(moving_mean(series, 1, edges), series)


@both_edges
@given(st.floats(2**-30, 2**14, width=32), st.integers(1, 40), widths)
def test_a_constant_stays_constant(edges, level, length, width):
    series = np.full(length, level, dtype="f4")
    np.testing.assert_array_equal(moving_mean(series, width, edges), series)


@both_edges
@given(rows(), widths.map(lambda width: 2 * (width // 2) + 1))
def test_an_odd_window_is_symmetric(edges, series, width):
    backwards = moving_mean(series[:, ::-1], width, edges)[:, ::-1]
    np.testing.assert_allclose(backwards, moving_mean(series, width, edges), rtol=1e-12)


@both_edges
@pytest.mark.parametrize("width", [2, 3, 4, 9])
def test_a_rollout_that_ended_early_is_smoothed_over_its_own_length(width, edges):
    rollout = np.array([1.0, 5.0, 2.0, 8.0])
    padded = np.append(rollout, [NAN] * 3)
    expected = np.append(moving_mean(rollout, width, edges), [NAN] * 3)
    np.testing.assert_array_equal(moving_mean(padded, width, edges), expected)


def test_a_short_rollout_averages_its_tokens():
    rollout = np.array([1.0, 5.0, 3.0, NAN, NAN, NAN])
    np.testing.assert_array_equal(moving_mean(rollout, 4, "repeat"), rollout)
    np.testing.assert_array_equal(moving_mean(rollout, 4), [3.0, 3.0, 3.0, NAN, NAN, NAN])


def test_gaps_stay_and_neighbouring_means_skip_them():
    series = np.array([3.0, 5.0, NAN, 1.0, 1.0])
    np.testing.assert_array_equal(moving_mean(series, 3), [4.0, 4.0, NAN, 1.0, 1.0])
    repeated = moving_mean(series, 3, "repeat")
    np.testing.assert_array_equal(repeated, [11 / 3, 4.0, NAN, 1.0, 1.0])


def test_an_even_window_extends_one_further_back():
    smoothed = moving_mean(np.array([0.0, 0.0, 4.0, 0.0, 0.0]), 2)
    np.testing.assert_array_equal(smoothed, [0.0, 0.0, 2.0, 2.0, 0.0])


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_the_dtype_is_kept_and_the_input_untouched(dtype):
    series = np.array([[1.0, 2.0, NAN]], dtype=dtype)
    before = series.copy()
    assert moving_mean(series, 2).dtype == dtype
    np.testing.assert_array_equal(series, before)


def test_batches_do_not_change_results(monkeypatch):
    series = np.random.default_rng(0).random((5, 3, 40))
    whole = moving_mean(series, 7)
    monkeypatch.setattr(smoothing, "BATCH", 100)
    np.testing.assert_array_equal(moving_mean(series, 7), whole)
