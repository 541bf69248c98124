from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoklx.plot.lines import thin


def test_a_short_line_is_not_thinned() -> None:
    assert thin(np.zeros((2, 30)), columns=10) is None
    assert thin(np.zeros((2, 31)), columns=10) is not None


@given(st.integers(0, 999), st.integers(5, 40))
def test_a_spike_of_one_token_keeps_its_height_and_place(place: int, columns: int) -> None:
    line = np.zeros((1, 1000))
    line[0, place] = 9.0
    kept = thin(line, columns)
    assert kept is not None
    assert place in kept[0]


def test_every_column_of_pixels_covers_the_same_range_as_before() -> None:
    lines = np.random.default_rng(0).normal(size=(3, 1003))
    kept = thin(lines, columns=50)
    assert kept is not None
    thinned = np.full(lines.shape, np.nan)
    np.put_along_axis(thinned, kept, np.take_along_axis(lines, kept, axis=1), axis=1)
    width = -(-1003 // 50)
    for start in range(0, 1003, width):
        column = slice(start, start + width)
        for extreme in (np.nanmin, np.nanmax):
            np.testing.assert_array_equal(
                extreme(thinned[:, column], axis=1), extreme(lines[:, column], axis=1)
            )


def test_first_and_last_value_are_kept_even_if_not_extreme() -> None:
    line = np.tile([0.0, 1.0], 500)[np.newaxis]
    line[0, [3, 700]] = 0.5
    line[0, :3] = line[0, 701:] = np.nan
    kept = thin(line, columns=20)
    assert kept is not None
    assert {3, 700} <= set(kept[0].tolist())


def test_a_gap_stays_open() -> None:
    line = np.sin(np.arange(1000.0))[np.newaxis]
    line[0, 305:390] = np.nan
    kept = thin(line, columns=20)
    assert kept is not None
    between = [place for place in kept[0] if 304 < place < 390]
    assert between
    assert np.isnan(line[0, between]).all()


@pytest.mark.parametrize("tokens", [10_000, 100_000])
def test_the_number_of_points_depends_only_on_pixels(tokens: int) -> None:
    kept = thin(np.random.default_rng(0).normal(size=(2, tokens)), columns=100)
    assert kept is not None
    assert kept.shape[1] <= 2 * 100 + 2


def test_positions_ascend_and_each_line_is_thinned_separately() -> None:
    lines = np.random.default_rng(1).normal(size=(4, 5000))
    together = thin(lines)
    assert together is not None
    assert (np.diff(together, axis=1) >= 0).all()
    for line, kept in zip(lines, together, strict=True):
        alone = thin(line[np.newaxis])
        assert alone is not None
        np.testing.assert_array_equal(alone[0], kept)
