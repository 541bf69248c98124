import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from isoklx.stats.kernels.comparisons import first_failure, holm, last_of_sequence


@given(hnp.arrays(bool, 6), hnp.arrays(bool, 6))
def test_sequence_stops_at_the_first_failure(passed, tested):
    safe, stopped = -1, -1
    for dose in range(6):
        if not tested[dose]:
            continue
        if not passed[dose]:
            stopped = dose
            break
        safe = dose
    assert last_of_sequence(passed, tested) == safe
    assert first_failure(passed, tested) == stopped


def holm_by_hand(p_values):
    """Multiply the smallest p by n, the next by n - 1, and so on, without decreasing."""
    adjusted = [np.nan] * len(p_values)
    known = sorted((p, i) for i, p in enumerate(p_values) if not np.isnan(p))
    largest = 0.0
    for rank, (p, i) in enumerate(known):
        largest = max(largest, min(1.0, p * (len(known) - rank)))
        adjusted[i] = largest
    return adjusted


@given(hnp.arrays(float, st.integers(0, 8), elements=st.one_of(st.floats(0, 1), st.just(np.nan))))
def test_holm_equals_the_paper(p_values):
    np.testing.assert_allclose(holm(p_values), holm_by_hand(p_values.tolist()))
