from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest

from isoklx.errors import UsageError
from isoklx.plot.axes import Extent, check_ymax, limit
from tests.plot.panels import notes


def test_an_extent_is_robust_against_few_values_and_knows_the_highest() -> None:
    values = np.append(np.linspace(0.1, 1, 1000), [50.0, np.nan, 0.0])
    extent = Extent.of(values, values, median=values)
    assert 0.1 < extent.low < 0.2
    assert 0.9 < extent.high < 1
    assert extent.highest == 50


def test_all_panels_share_limits_and_only_a_cut_one_has_a_note() -> None:
    cut, whole = plt.figure().subplots(1, 2)
    limit({cut: Extent(0.1, 5, 17.25), whole: Extent(0.1, 2, 3)}, ymax=6, log=False, least=1)
    assert cut.get_ylim() == whole.get_ylim()
    assert cut.get_ylim()[1] == 6
    assert "17.2" in notes(cut)
    assert not notes(whole)


def test_an_automatic_limit_follows_the_fullest_panel_but_includes_the_target() -> None:
    low, high = plt.figure().subplots(1, 2)
    limit({low: Extent(0.1, 0.2, 0.3), high: Extent(0.1, 9, 40)}, ymax="auto", log=False, least=1)
    assert 9 < low.get_ylim()[1] < 12
    limit({low: Extent(0.1, 0.2, 0.3)}, ymax="auto", log=False, least=1)
    assert low.get_ylim()[1] > 1


def test_an_automatic_logarithmic_axis_cuts_nothing_above() -> None:
    ax = plt.figure().gca()
    limit({ax: Extent(0.01, 9, 40)}, ymax="auto", log=True, least=1)
    assert ax.get_yscale() == "log"
    bottom, top = ax.get_ylim()
    assert 0 < bottom <= 0.01
    assert top > 40
    assert not notes(ax)


def test_an_empty_panel_says_why() -> None:
    full, missing, below = plt.figure().subplots(1, 3)
    extents = {
        full: Extent(0.5, 2, 3),
        missing: Extent(np.nan, np.nan, np.nan),
        below: Extent(np.nan, 0, 0),
    }
    limit(extents, ymax="auto", log=True, least=1)
    assert notes(missing) == "not run"
    assert notes(below).startswith("below")


def test_each_thing_out_of_sight_has_a_note() -> None:
    lines = np.array([[1e-5, 0.0], [0.0, 0.5], [8.0, np.nan], [np.nan, np.nan]])
    extent = Extent.of_lines(lines, median=np.array([1e-5, 1e-5, 0.5]))
    max_above, lines_below, median_below = extent.beyond(1e-4, 6)
    assert max_above.startswith("max 8 ")
    assert lines_below.startswith("1 of 3 below axis ")
    assert median_below.startswith("median mostly below ")
    assert not list(extent.beyond(0, 10))


@pytest.mark.parametrize(
    ("median", "said"),
    [
        ([7, 8], "median above axis \N{UPWARDS ARROW}"),
        ([7, 8, 5], "median mostly above \N{UPWARDS ARROW}"),
        ([7, 5], ""),
        ([], ""),
    ],
)
def test_a_median_mostly_in_sight_has_no_note(median: list[float], said: str) -> None:
    extent = Extent.of(np.ones(2), np.ones(2), median=np.array(median, dtype=float))
    assert "".join(extent.beyond(0, 6)) == said


def test_medians_out_of_sight_are_named() -> None:
    one, low = np.ones(4), np.full(4, 1e-9)

    def said(**medians: list[float]) -> list[str]:
        groups = {name: Extent.of(low, one, median=np.array(m)) for name, m in medians.items()}
        return list(Extent.of_all(groups).beyond(1e-3, 6))

    in_sight, below, mostly = [1.0, 1.0], [1e-5, 0.0], [1.0, 0.0, 0.0]
    assert said(a=in_sight, b=in_sight) == []
    assert said(a=in_sight, b=below) == ["median below axis: b \N{DOWNWARDS ARROW}"]
    assert said(a=in_sight, b=mostly, c=[9.0]) == [
        "median above axis: c \N{UPWARDS ARROW}",
        "median mostly below: b \N{DOWNWARDS ARROW}",
    ]
    assert said(a=below, b=below) == ["all medians below axis \N{DOWNWARDS ARROW}"]
    assert said(a=below, b=mostly) == ["all medians mostly below \N{DOWNWARDS ARROW}"]
    assert said(mean_diff=below, pca=below, other=in_sight) == [
        "medians below axis:",
        "mean_diff, pca \N{DOWNWARDS ARROW}",
    ]


@pytest.mark.parametrize("bad", [0, -1, np.nan, np.inf, "high"])
def test_an_impossible_limit_is_refused(bad: float) -> None:
    with pytest.raises(UsageError, match="kl_ymax must be above 0"):
        check_ymax(bad)
