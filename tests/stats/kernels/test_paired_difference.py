import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from isoklx.stats.kernels import comparisons as pair
from isoklx.stats.kernels import kaplan_meier as km

unit_counts = hnp.arrays(int, (2, 5, 4), elements=st.integers(0, 3))


def weighted(weights, ended, died):
    """Survival with weighted units."""
    return km.kaplan_meier(km.at_risk(weights @ ended), weights @ died)


@given(unit_counts)
def test_influence_is_the_derivative_in_the_weight_of_a_unit(numbers):
    died, lost = numbers
    ended = died + lost
    found = pair.influence(ended, died)
    np.testing.assert_allclose(found.sum(axis=0), 0, atol=1e-12)
    alive = km.at_risk(ended.sum(axis=0)) > died.sum(axis=0)
    step = 1e-6
    for unit in range(5):
        more, less = np.ones(5), np.ones(5)
        more[unit] += step
        less[unit] -= step
        slope = (weighted(more, ended, died) - weighted(less, ended, died)) / (2 * step)
        np.testing.assert_allclose(found[unit][alive], slope[alive], atol=1e-6)


def newcombe_phi(both, first_only, second_only, neither):
    """Correlation of method 10, from the table of a paired comparison."""
    n = both + first_only + second_only + neither
    margins = (both + first_only) * (second_only + neither)
    margins *= (both + second_only) * (first_only + neither)
    if not margins:
        return 0.0
    product = both * neither - first_only * second_only
    return (max(product - n / 2, 0) if product > 0 else product) / margins**0.5


@given(st.tuples(*[st.integers(0, 12)] * 4).filter(any))
def test_correlation_of_paired_proportions_equals_newcombe(table):
    outcomes = np.repeat([[1, 1], [1, 0], [0, 1], [0, 0]], table, axis=0)
    influence = (outcomes - outcomes.mean(axis=0)) / len(outcomes)
    found = pair.correlation(*influence.T, largest=1.0)
    assert found == pytest.approx(newcombe_phi(*table), abs=1e-9)


bounds = st.tuples(*[st.floats(0, 1)] * 3).map(sorted)


@given(bounds, bounds, st.floats(-1, 1))
def test_interval_contains_the_difference_and_is_antisymmetric(one, other, rho):
    lower, middle, upper = one
    other_lower, other_middle, other_upper = other
    first = np.array(middle), np.array([lower, upper])
    second = np.array(other_middle), np.array([other_lower, other_upper])
    low, high = pair.difference_interval(*first, *second, np.array(rho))
    assert low <= middle - other_middle <= high
    turned = pair.difference_interval(*second, *first, np.array(rho))
    np.testing.assert_allclose(turned, [-high, -low], atol=1e-12)


def test_sides_that_agree_at_every_prompt_have_a_nonzero_interval():
    died = np.repeat([[1, 0], [0, 0]], 4, axis=0)
    ended = np.repeat([[1, 0], [0, 1]], 4, axis=0)
    influence = pair.influence(ended, died)[:, -1]
    assert pair.correlation(influence, influence, largest=1.0) == pytest.approx(0.75)
