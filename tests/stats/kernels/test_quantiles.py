from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from isoklx.stats.kernels.quantiles import nan_quantiles

values = st.one_of(st.just(np.nan), st.sampled_from([0.0, 1.0, 1e4]), st.floats(0, 20, width=32))
levels = st.lists(st.floats(0, 1), min_size=1, max_size=4).map(np.array)
shapes = st.tuples(*[st.integers(1, 5)] * 3)


def slice_by_slice(samples, q, axes):
    """Quantile by numpy of each slice without NaN."""
    slices = samples.reshape(-1, np.prod(samples.shape[samples.ndim - axes :], dtype=int))
    kept = [each[~np.isnan(each)] for each in slices]
    quantiles = [np.quantile(each, q) if each.size else np.full(q.size, np.nan) for each in kept]
    return np.reshape(quantiles, (*samples.shape[: samples.ndim - axes], q.size))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@given(data=st.data(), q=levels, axes=st.integers(1, 3))
def test_quantiles_equal_numpy(dtype, data, q, axes):
    samples = data.draw(arrays(dtype, shapes, elements=values))
    expected = slice_by_slice(samples, q, axes)
    np.testing.assert_allclose(nan_quantiles(samples, q, axes), expected, rtol=1e-12)


@pytest.mark.parametrize("count", [1, 2, 3, 10, 11])
def test_every_rank_is_exact(count):
    ranks = np.arange(float(count))
    samples = np.append(np.random.default_rng(0).permutation(ranks), [np.nan] * 3)
    quantiles = nan_quantiles(samples, ranks / max(count - 1, 1))
    np.testing.assert_allclose(quantiles, ranks, rtol=1e-15)


def test_all_nan_is_nan_without_a_warning():
    samples = np.full((2, 4), np.nan)
    np.testing.assert_array_equal(nan_quantiles(samples, np.array([0.5])), [[np.nan]] * 2)


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3), (2, 0, 4)])
def test_an_empty_array_has_quantiles_of_nan(shape):
    quantiles = nan_quantiles(np.empty(shape), np.array([0.1, 0.9]))
    assert quantiles.shape == (*shape[:-1], 2)
    assert np.isnan(quantiles).all()


def test_over_no_axes_each_sample_is_its_own_quantile():
    samples = np.array([3.0, np.nan], dtype="f4")
    quantiles = nan_quantiles(samples, np.array([0.0, 0.7]), axes=0)
    np.testing.assert_array_equal(quantiles, [[3.0, 3.0], [np.nan, np.nan]])


def test_samples_are_not_sorted_in_place():
    samples = np.array([3.0, 1.0, 2.0])
    nan_quantiles(samples, np.array([0.5]))
    np.testing.assert_array_equal(samples, [3.0, 1.0, 2.0])


def test_an_infinite_value_counts_as_the_largest():
    samples = np.array([1.0, 2.0, np.inf])
    np.testing.assert_array_equal(nan_quantiles(samples, np.array([0.5])), [2.0])
