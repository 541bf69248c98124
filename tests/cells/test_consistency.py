import numpy as np
import pytest

from isoklx.cells.consistency import SAME_COEFFICIENT, coeff_mismatch, was_tried


def test_alpha_times_c_star_has_no_mismatch():
    alpha = np.array([-1, 0, 0.25, 4])
    assert coeff_mismatch(alpha * -1.7, alpha, -1.7).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("coeff", "alpha", "c_star", "expected"),
    [(1.5, 1, 1.2, 0.2), (0.0, 1, 2.0, 1), (0.5, 0, 2.0, 1), (-1.0, 1, 1.0, 2)],
)
def test_the_mismatch_is_relative_to_the_larger_of_the_two(coeff, alpha, c_star, expected):
    assert coeff_mismatch(coeff, alpha, c_star) == pytest.approx(expected)


def test_the_mismatch_of_a_missing_coefficient_is_nan():
    assert np.isnan(coeff_mismatch(np.nan, 1, 2.0))


def test_overflow_gives_no_warning():
    assert np.isnan(coeff_mismatch(1.0, 1e300, 1e300))


def test_c_star_was_tried_if_a_coefficient_equals_it_up_to_rounding():
    assert was_tried(2.0, [1.0, 2.0])
    assert was_tried(-2.0, [1.0, -2.0 * (1 + SAME_COEFFICIENT / 2)])
    assert not was_tried(2.0, [1.0, -2.0, np.nan, 2.0 * (1 + 2 * SAME_COEFFICIENT)])
    assert not was_tried(2.0, [])
