from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from isoklx.stats.kernels.smoothing import interpolate

NAN = np.nan
KNOTS = np.array([0, 1, 2, 5, 8, 13])
TOKENS = np.arange(16)

masses = arrays(
    "f8", (4, KNOTS.size), elements=st.one_of(st.just(NAN), st.floats(0, 1, allow_subnormal=False))
)
lengths = arrays("f8", 4, elements=st.one_of(st.just(NAN), st.integers(0, 20).map(float)))


def row_by_row(values, ends, knots, positions):
    """Interpolation by numpy, one series at a time."""
    rows = []
    for row, end in zip(values, ends, strict=True):
        own = np.isfinite(row)
        line = np.interp(positions, knots[own], row[own]) if own.any() else np.nan * positions
        rows.append(np.where(positions < end, line, NAN))
    return np.array(rows)


@given(masses, lengths)
def test_it_equals_numpy_through_the_finite_knots(values, ends):
    line = interpolate(values, ends, KNOTS, TOKENS)
    expected = row_by_row(values, ends, KNOTS, TOKENS)
    np.testing.assert_allclose(line, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@given(masses, lengths)
def test_knots_of_other_series_have_no_influence(dtype, values, ends):
    values = values.astype(dtype)
    more = np.array([0, 1, 2, 3, 4, 5, 8, 11, 13, 14])
    spread = np.full((len(values), more.size), NAN, dtype=dtype)
    spread[:, np.isin(more, KNOTS)] = values
    alone = interpolate(values, ends, KNOTS, TOKENS)
    assert interpolate(spread, ends, more, TOKENS).tobytes() == alone.tobytes()


def test_measured_values_are_exact():
    values = np.random.default_rng(0).random((20, KNOTS.size)).astype("f4")
    line = interpolate(values, np.full(20, 99), KNOTS, KNOTS)
    np.testing.assert_array_equal(line, values)


def test_end_values_extend_to_the_end_of_the_rollout():
    values = np.array([NAN, 0.8, NAN, 0.4, NAN, NAN])
    line = interpolate(values, np.array(10), KNOTS, np.array([0, 1, 3, 5, 9, 10]))
    np.testing.assert_allclose(line, [0.8, 0.8, 0.6, 0.4, 0.4, NAN])


def test_the_order_of_the_knots_does_not_matter():
    values = np.array([[0.9, 0.5, NAN, 0.1, 0.3, NAN]])
    ends, order = np.array([12]), [3, 5, 0, 2, 1, 4]
    shuffled = interpolate(values[:, order], ends, KNOTS[order], TOKENS)
    np.testing.assert_array_equal(shuffled, interpolate(values, ends, KNOTS, TOKENS))


@pytest.mark.parametrize("knots", [0, 3])
@pytest.mark.parametrize("positions", [0, 5])
@pytest.mark.parametrize("series", [0, 2])
def test_empty_input_is_nan_or_empty(knots, positions, series):
    values = np.full((series, knots), NAN, dtype="f4")
    line = interpolate(values, np.full(series, 9.0), np.arange(knots), np.arange(positions))
    assert line.shape == (series, positions)
    assert line.dtype == "f4"
    assert np.isnan(line).all()
