from __future__ import annotations

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest

from isoklx.errors import UsageError
from isoklx.plot.page import SIZES, SMALLEST, Page, columns_of, points


def test_a_width_is_inches_or_column_or_page() -> None:
    assert Page(5.5).inches(9) == 5.5
    assert Page("column").inches(9) == 3.3
    assert Page("page").inches(9) == 7
    assert Page().inches(9) == 9


@pytest.mark.parametrize("width", [0, -1, 1e9, float("nan"), "wide"])
def test_an_invalid_width_is_one_line(width: float) -> None:
    with pytest.raises(
        UsageError, match=r"^width must be 2\.5 to 100 inches, 'column' or 'page', got [^\n]+$"
    ):
        Page(width)


def test_the_figure_size_of_the_style_applies_unless_a_width_is_given() -> None:
    with mpl.rc_context({"figure.figsize": (4.2, 8)}):
        assert Page().inches(9) == 4.2
        assert Page().new(9, 2).get_size_inches().tolist() == [4.2, 8]
        assert Page(5).new(9, 2).get_size_inches().tolist() == [5, 2]


def test_a_subfigure_has_its_own_width_and_a_constrained_layout() -> None:
    figure = plt.figure(figsize=(8, 3))
    left, _ = figure.subfigures(1, 2)
    assert Page(subfigure=left).inches(9) == pytest.approx(4)
    assert Page(subfigure=left).new(9, 2) is left
    assert figure.get_layout_engine() is not None
    with pytest.raises(UsageError, match="must not be given for a subfigure"):
        Page(3, subfigure=left)


def test_text_has_the_size_of_the_style_and_at_least_six_points() -> None:
    with mpl.rc_context({"axes.labelsize": 13, "font.size": 4}):
        assert points("label") == 13
        assert {points(words) for words in SIZES if words != "label"} == {SMALLEST}
    with mpl.rc_context({"font.size": 20}):
        assert points("title") == pytest.approx(20 * 0.833)


def test_a_legend_is_no_wider_than_its_figure() -> None:
    assert columns_of(["pca"] * 3, 7, 7) == 3
    assert columns_of(["a name of very many letters that goes on"] * 3, 3.3, 7) == 1
    assert columns_of(["a name of very many letters that goes on", "pca", "pca"], 3.3, 7) == 2


@pytest.mark.parametrize("title", [False, "My own"])
def test_a_title_is_omitted_or_replaced(title: bool | str) -> None:
    page = Page(title=title)
    figure = page.new(4, 2)
    page.put_title(figure, "made from the data")
    assert figure.get_suptitle() == (title or "")
