from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from isoklx.stats.kernels import smoothing
from isoklx.stats.kernels.smoothing import moving_mean

NAN = math.nan

# Spikes beside next to nothing, and gaps anywhere.
nats = st.one_of(
    st.sampled_from([1e4, 1e-6, 1e-7, 0.0, 1.0, NAN]), st.floats(1e-9, 20.0), st.just(NAN)
)
widths = st.integers(1, 9)


def rows(dtype: str = "f8") -> st.SearchStrategy[np.ndarray]:
    shapes = st.tuples(st.integers(1, 3), st.integers(0, 30))
    return arrays(dtype, shapes, elements=nats.map(lambda x: np.dtype(dtype).type(x).item()))


def by_hand(row: list[float], width: int) -> list[float]:
    """The definition, read off word by word."""
    there = [i for i, x in enumerate(row) if not math.isnan(x)]
    if not there or there[-1] - there[0] + 1 < width:
        return row
    smoothed = []
    for i, x in enumerate(row):
        start = i - width // 2
        window = [row[min(max(j, there[0]), there[-1])] for j in range(start, start + width)]
        kept = [y for y in window if not math.isnan(y)]
        smoothed.append(NAN if math.isnan(x) else math.fsum(kept) / len(kept))
    return smoothed


@settings(deadline=None)
@given(rows(), widths)
def test_it_is_the_mean_of_the_window_spikes_and_all(series, width):
    expected = np.array([by_hand(row, width) for row in series.tolist()]).reshape(series.shape)
    np.testing.assert_allclose(moving_mean(series, width), expected, rtol=1e-12, atol=0)


def test_a_spike_leaves_no_rounding_behind():
    series = np.full(4096, 1e-6)
    series[100] = 1e4
    np.testing.assert_allclose(moving_mean(series, 65)[200:], 1e-6, rtol=1e-15)


@given(rows("f4"))
def test_width_one_is_the_identity(series):
    np.testing.assert_array_equal(moving_mean(series, 1), series)


@given(st.floats(2**-30, 2**14, width=32), st.integers(1, 40), widths)
def test_a_constant_stays_the_constant(level, length, width):
    series = np.full(length, level, dtype="f4")
    np.testing.assert_array_equal(moving_mean(series, width), series)


@given(rows(), widths.map(lambda width: 2 * (width // 2) + 1))
def test_an_odd_window_sees_the_same_from_both_sides(series, width):
    backwards = moving_mean(series[:, ::-1], width)[:, ::-1]
    np.testing.assert_allclose(backwards, moving_mean(series, width), rtol=1e-12)


@pytest.mark.parametrize("width", [2, 3, 4])
def test_a_rollout_that_ended_early_is_smoothed_over_its_own_length(width):
    rollout = np.array([1.0, 5.0, 2.0, 8.0])
    padded = np.append(rollout, [NAN] * 3)
    expected = np.append(moving_mean(rollout, width), [NAN] * 3)
    np.testing.assert_array_equal(moving_mean(padded, width), expected)


def test_a_rollout_shorter_than_the_window_stays_as_it_is():
    rollout = np.array([1.0, 5.0, 2.0, NAN, NAN, NAN])
    np.testing.assert_array_equal(moving_mean(rollout, 4), rollout)


def test_a_gap_stays_a_gap_and_its_neighbours_average_what_is_left():
    smoothed = moving_mean(np.array([3.0, 5.0, NAN, 1.0, 1.0]), 3)
    np.testing.assert_array_equal(smoothed, [11 / 3, 4.0, NAN, 1.0, 1.0])


def test_an_even_window_reaches_one_further_back_than_ahead():
    smoothed = moving_mean(np.array([0.0, 0.0, 4.0, 0.0, 0.0]), 2)
    np.testing.assert_array_equal(smoothed, [0.0, 0.0, 2.0, 2.0, 0.0])


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_the_dtype_is_kept_and_the_input_untouched(dtype):
    series = np.array([[1.0, 2.0, NAN]], dtype=dtype)
    before = series.copy()
    assert moving_mean(series, 2).dtype == dtype
    np.testing.assert_array_equal(series, before)


def test_working_through_the_rows_in_batches_changes_nothing(monkeypatch):
    series = np.random.default_rng(0).random((5, 3, 40))
    whole = moving_mean(series, 7)
    monkeypatch.setattr(smoothing, "BATCH", 100)
    np.testing.assert_array_equal(moving_mean(series, 7), whole)
