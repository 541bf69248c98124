import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import beta, norm, t

from isoklx.stats.kernels import clusters

LEVEL = 0.95


def korn_graubard(values):
    """The definition for units of equal size, by a plain loop."""
    n = len(values)
    means = [sum(row) / len(row) for row in values]
    mean = sum(means) / n
    variance = sum((each - mean) ** 2 for each in means) / (n - 1) / n
    size = mean * (1 - mean) / variance * (norm.ppf(0.975) / t.ppf(0.975, n - 1)) ** 2
    hits, misses = mean * size, (1 - mean) * size
    return mean, beta.ppf(0.025, hits, misses + 1), beta.ppf(0.975, hits + 1, misses)


def test_a_share_has_the_interval_of_its_effective_size():
    values = np.random.default_rng(0).random((8, 50)) ** np.arange(1, 9)[:, np.newaxis] > 0.5
    found = clusters.share(values.sum(axis=1), np.full(8, 50), level=LEVEL)
    np.testing.assert_allclose(found, korn_graubard(values.tolist()), rtol=1e-9)


def test_quantile_bounds_invert_the_interval_of_the_share():
    samples = np.random.default_rng(1).exponential(np.arange(1, 13)[:, np.newaxis], (12, 80))
    middle, low, high = clusters.pooled_quantile(samples, 0.9, level=LEVEL)
    assert middle == pytest.approx(np.quantile(samples, 0.9))
    assert low < middle < high
    beyond = samples > middle
    share = korn_graubard(beyond.tolist())
    assert np.mean(samples > high) == pytest.approx(share[1], abs=2e-3)
    assert np.mean(samples > low) == pytest.approx(share[2], abs=2e-3)


unit_values = hnp.arrays(
    float, (5, 7), elements=st.one_of(st.floats(0, 1), st.sampled_from([0, 1, np.nan]))
)


@given(unit_values)
def test_intervals_contain_the_estimate(values):
    present = ~np.isnan(values)
    total, count = np.nansum(values, axis=1), present.sum(axis=1)
    for found in (
        clusters.share(total, count, level=LEVEL),
        clusters.pooled_quantile(values, 0.8, level=LEVEL),
    ):
        middle, low, high = found
        assert np.isnan(middle) == (not present.any())
        if np.count_nonzero(count) < 2:
            assert np.isnan([low, high]).all()
            continue
        assert low <= middle + 1e-12
        assert middle <= high + 1e-12
    assert np.isnan(middle) or middle == pytest.approx(np.nanquantile(values, 0.8))


@given(unit_values, st.permutations(range(5)))
def test_order_of_units_does_not_matter(values, order):
    found = clusters.pooled_quantile(values, 0.5, level=LEVEL)
    again = clusters.pooled_quantile(values[list(order)], 0.5, level=LEVEL)
    np.testing.assert_allclose(again, found, rtol=1e-9)


@pytest.mark.parametrize("value", [0, 0.5, 1])
def test_identical_units_count_once_each(value):
    _, low, high = clusters.share(np.full(8, 9 * value), np.full(8, 9), level=LEVEL)
    assert high - low > 0.3


def test_leading_dims_are_independent():
    samples = np.random.default_rng(2).random((2, 3, 5, 9))
    found = clusters.pooled_quantile(samples, 0.9, level=LEVEL)
    assert found.shape == (2, 3, 3)
    np.testing.assert_array_equal(
        found[1, 2], clusters.pooled_quantile(samples[1, 2], 0.9, level=LEVEL)
    )
