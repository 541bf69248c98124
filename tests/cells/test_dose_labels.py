from __future__ import annotations

from itertools import pairwise
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoklx.cells.parsing import find_duplicate, positions, union

alphas = st.floats(-1e6, 1e6, allow_nan=False).map(lambda alpha: alpha + 0.0)
near = st.sampled_from([1.0, 1 + 2**-52, 1 - 2**-53, 1 + 4e-10, 1 - 9e-10, 1 + 3e-9])
doses = st.lists(st.tuples(alphas, near).map(lambda pair: pair[0] * pair[1]), max_size=12)


def same(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-9 * max(abs(a), abs(b))


@given(st.lists(st.tuples(st.sampled_from([0.3, 1.0, 2.5, 0.0, -4.0]), near), max_size=12), doses)
def test_every_dose_has_exactly_one_equal_label(crowded, others):
    found = [alpha * factor for alpha, factor in crowded] + others
    labels = union(found)
    assert np.all(np.diff(labels) > 0)
    assert set(labels.tolist()) <= set(found)
    for dose, at in zip(found, positions(labels, found), strict=True):
        assert same(labels[at], dose)


@given(doses)
def test_the_order_of_doses_does_not_matter(found):
    shuffled = Random(0).sample(found, len(found))
    assert union(found).tolist() == union(shuffled).tolist()


@given(doses)
def test_find_duplicate_finds_equal_doses(found):
    expected = any(same(a, b) for a, b in pairwise(sorted(found)))
    again = find_duplicate(found)
    assert (again is not None) == expected
    if again is not None:
        first, second = again
        assert first < second
        assert same(found[first], found[second])


@pytest.mark.parametrize("step", [0, 1, -1])
def test_union_keeps_the_shortest_spelling_of_equal_doses(step):
    off = float(np.nextafter(0.7, step * np.inf)) if step else 0.7
    assert union([off, 0.7, 1]).tolist() == [0.7, 1]


def test_tiny_doses_differ_from_zero():
    assert union([0, 1e-300, 1e-12]).tolist() == [0, 1e-300, 1e-12]
    assert find_duplicate([0, 1e-300]) is None


def test_union_and_positions_accept_no_doses():
    assert union([]).size == positions(union([]), []).size == 0
