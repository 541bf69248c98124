import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import binomtest

from isoklx.stats.kernels import beta_product as bp
from isoklx.stats.kernels import kaplan_meier as km

deaths_and_losses = hnp.arrays(int, (2, 6), elements=st.integers(0, 8))
ROUNDING = 1e-12


def counts(numbers):
    died, lost = numbers
    return km.at_risk(died + lost), died


@pytest.mark.parametrize("level", [0.9, 0.95])
@pytest.mark.parametrize("n", [1, 8, 24, 1000])
def test_without_censoring_it_equals_clopper_pearson(n, level):
    for dead in {0, 1, n // 3, n - 1, n}:
        early = dead // 2
        at_risk, died = np.array([n, n - early]), np.array([early, dead - early])
        lower, upper = bp.interval(at_risk, died, level=level)[-1]
        exact = binomtest(n - dead, n).proportion_ci(level, method="exact")
        assert lower == pytest.approx(exact.low, abs=1e-9)
        assert upper == pytest.approx(exact.high, abs=1e-9)


def drawn(at_risk, died, rng, n=40_000):
    """Bounds from random draws of the product, factor by factor."""
    product = np.ones(n)
    bounds = []
    for r, d in zip(at_risk, died, strict=True):
        if d:
            product = product * rng.beta(r - d + 1, d, n)
        lower = np.quantile(product * rng.beta(r - d, 1, n), 0.025) if r > d else 0
        bounds.append((lower, np.quantile(product, 0.975)))
    return np.array(bounds)


def test_with_censoring_it_is_near_simulated_products():
    rng = np.random.default_rng(0)
    for n in (8, 24, 100):
        died, lost = rng.multinomial(n, np.full(12, 1 / 12)).reshape(2, 6)
        at_risk = n - np.append(0, np.cumsum(died + lost)[:-1])
        found = bp.interval(at_risk, died, level=0.95)
        np.testing.assert_allclose(found, drawn(at_risk, died, rng), rtol=0, atol=0.015)


@given(deaths_and_losses, st.sampled_from([0.01, 0.2, 1 / 3, 1, 7]))
def test_it_contains_the_estimate_at_fractional_counts_too(numbers, worth):
    at_risk, died = counts(numbers)
    survival = km.kaplan_meier(at_risk, died)
    lower, upper = bp.interval(worth * at_risk, worth * died, level=0.95).T
    known = (at_risk > 0) | (survival == 0)
    assert np.isnan([lower[~known], upper[~known], survival[~known]]).all()
    lower, upper, survival = lower[known], upper[known], survival[known]
    assert (lower <= survival + ROUNDING).all()
    assert (survival <= upper + ROUNDING).all()
    assert (lower >= 0).all()
    assert (upper <= 1).all()


@given(deaths_and_losses, st.integers(2, 9))
def test_it_shrinks_as_all_counts_grow(numbers, times):
    at_risk, died = counts(numbers)
    lower, upper = bp.interval(at_risk, died, level=0.95).T
    more_lower, more_upper = bp.interval(times * at_risk, times * died, level=0.95).T
    seen = at_risk > 0
    assert (more_lower[seen] >= lower[seen] - ROUNDING).all()
    assert (more_upper[seen] <= upper[seen] + ROUNDING).all()


def test_interval_is_nan_without_risk_set_unless_all_died():
    found = bp.interval(np.array([2, 1, 0]), np.array([0, 0, 0]), level=0.95)
    assert np.isnan(found[2]).all()
    assert found[1, 0] > 0
    found = bp.interval(np.array([2, 1, 0]), np.array([1, 1, 0]), level=0.95)
    np.testing.assert_array_equal(found[2], found[1])
    assert found[2, 0] == 0


def test_leading_dims_are_independent():
    rng = np.random.default_rng(1)
    died, lost = rng.integers(0, 5, (2, 3, 4, 6))
    at_risk = km.at_risk(died + lost)
    found = bp.interval(at_risk, died, level=0.95)
    for place in np.ndindex(3, 4):
        np.testing.assert_array_equal(
            found[place], bp.interval(at_risk[place], died[place], level=0.95)
        )


@pytest.mark.parametrize("copies", [1, 3])
def test_copies_of_a_trajectory_count_once(copies):
    at_risk, died = np.array([8, 7, 4]), np.array([1, 1, 0])
    found = bp.effective_counts(copies * at_risk, copies * died, copies**2 * at_risk)
    np.testing.assert_allclose(found, [at_risk, died])


@given(hnp.arrays(int, 6, elements=st.integers(1, 20)))
def test_effective_number_is_at_most_the_number_of_prompts(of_prompts):
    at_risk = np.array([of_prompts.sum()])
    shared = np.array([(of_prompts**2).sum()])
    (worth,), _ = bp.effective_counts(at_risk, at_risk, shared)
    assert 1 - ROUNDING <= worth <= of_prompts.size + ROUNDING


def test_number_to_claim_is_the_smallest_sufficient_one():
    for survive in (0.5, 0.9, 0.99):
        n = bp.number_to_claim(survive, confidence=0.95)
        bounds = bp.bound_while_nobody_dies(np.array([max(n - 1, 1), n]), confidence=0.95)
        assert bounds[1] >= survive
        assert n == 1 or bounds[0] < survive
        one_sided = bp.interval(np.array([n]), np.array([0]), level=0.9)[0, 0]
        assert one_sided == pytest.approx(bounds[1])
