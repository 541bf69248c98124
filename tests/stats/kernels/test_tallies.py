import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from isoklx.stats.kernels import tallies


@given(hnp.arrays(bool, (3, 5)), hnp.arrays(np.intp, 5, elements=st.integers(0, 5)))
def test_largest_uses_counted_cells(counted, group):
    values = np.array([8, 16, 4, 32, 16], dtype=np.int32)
    found = tallies.largest(values, counted, group, groups=(2, 3)).reshape(3, 6)
    for row, kept in zip(found, counted, strict=True):
        for g in range(6):
            assert row[g] == max([0, *values[kept & (group == g)]])


def test_tally_counts_by_group_and_time():
    rng = np.random.default_rng(0)
    index = rng.integers(-1, 4, (2, 3, 5, 6))
    group = np.array([0, 3, 3, 5, 1])
    found = tallies.tally(index, index >= 0, group, groups=(2, 3), n_times=4)
    expected = np.zeros((2, 3, 2, 3, 4), dtype=int)
    for i, j, cell, prompt in np.ndindex(index.shape):
        if index[i, j, cell, prompt] >= 0:
            row, column = divmod(group[cell], 3)
            expected[i, j, row, column, index[i, j, cell, prompt]] += 1
    np.testing.assert_array_equal(found, expected)


@given(
    hnp.arrays(int, (2, 4, 5), elements=st.integers(0, 3)),
    hnp.arrays(bool, (2, 4, 5)),
    hnp.arrays(np.intp, 4, elements=st.integers(0, 1)),
)
def test_sharing_weights_trajectories_by_the_size_of_their_unit(index, counted, group):
    found = tallies.tally_sharing(index, counted, group, groups=(2,), n_times=4)
    units = tallies.count_units(counted, group, groups=(2,))
    expected, in_units = np.zeros((2, 2, 4), dtype=int), np.zeros((2, 2, 5), dtype=int)
    for row, cell, unit in zip(*np.nonzero(counted), strict=True):
        together = sum(
            counted[row, other, unit] for other in range(4) if group[other] == group[cell]
        )
        expected[row, group[cell], index[row, cell, unit]] += together
        in_units[row, group[cell], unit] = together
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(units, in_units)
