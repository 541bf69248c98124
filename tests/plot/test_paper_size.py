"""Figures at the widths of papers: no text is cut off or overlaps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
import xarray as xr

from isoklx import plot
from isoklx.errors import UsageError
from tests.plot.legibility import assert_legible

FIGURES: dict[str, Callable[..., Any]] = {
    "fan by method": lambda ds, **page: plot.figure1(ds, kind="fan", by="method", **page).fig,
    "hue": lambda ds, **page: plot.figure1(ds, hue="method", mark_t=9, **page).fig,
    "by pmass": lambda ds, **page: (
        plot.figure1(ds, kind="spaghetti", color_by_pmass=True, **page).fig
    ),
    "alive": lambda ds, **page: plot.alive(ds, **page).fig,
    "survival": lambda ds, **page: plot.survival(ds, threshold=[0.75, 0.95], **page).fig,
    "survival by method": lambda ds, **page: plot.survival(ds, by="method", **page).fig,
    "calibration": plot.calibration,
}


@pytest.mark.slow
@pytest.mark.parametrize("width", [3.3, 5.5, 7.0])
@pytest.mark.parametrize("doses", [1, 5, 8])
def test_figure_1_can_be_read_at_any_width(
    eight_doses: xr.Dataset, width: float, doses: int
) -> None:
    grid = plot.figure1(eight_doses.isel(alpha=slice(-doses, None)), width=width)
    assert grid.fig.get_figwidth() == width
    assert_legible(grid.fig)
    shown = [name["alpha"] for name in grid.name_dicts.flat if name and name["row"] == "kl"]
    assert shown == eight_doses["alpha"].values[-doses:].tolist()


@pytest.mark.slow
@pytest.mark.parametrize(("width", "doses"), [(3.3, 8), (5.5, 5), (7.0, 1)])
@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_can_be_read_at_any_width(
    eight_doses: xr.Dataset, name: str, width: float, doses: int
) -> None:
    figure = FIGURES[name](eight_doses.isel(alpha=slice(-doses, None)), width=width)
    assert figure.get_figwidth() == width
    assert_legible(figure)


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_can_be_drawn_into_a_subfigure_without_its_title(
    eight_doses: xr.Dataset, name: str
) -> None:
    figure = plt.figure(figsize=(12, 9))
    place, _ = figure.subfigures(1, 2)
    drawn = FIGURES[name](eight_doses.isel(alpha=[5, 6]), subfigure=place, title=False)
    assert drawn is place
    assert not place.get_suptitle()
    assert plt.get_fignums() == [figure.number]  # type: ignore[attr-defined]
    assert_legible(figure)


@pytest.mark.parametrize("options", [{}, {"kind": "spaghetti", "title": False}, {"hue": "method"}])
def test_five_doses_in_a_column_are_no_higher_than_a_page(
    real: xr.Dataset, options: dict[str, Any]
) -> None:
    figure = plot.figure1(real, width="column", **options).fig
    assert figure.get_figheight() <= 9
    assert_legible(figure)
    panels = [ax for ax in figure.axes if ax.get_visible()]
    assert min(ax.get_position().height * figure.get_figheight() for ax in panels) > 0.35


def test_rows_keep_their_height_without_a_width(eight_doses: xr.Dataset) -> None:
    assert plot.figure1(eight_doses, by="method").fig.get_figheight() > 9


@pytest.mark.parametrize("name", FIGURES)
def test_a_low_subfigure_is_one_line(eight_doses: xr.Dataset, name: str) -> None:
    low, _ = plt.figure(figsize=(7, 1.4)).subfigures(1, 2)
    with pytest.raises(
        UsageError,
        match=r"^subfigure must be at least [0-9.]+ inches .*, got 1\.4: .* fewer panels$",
    ):
        FIGURES[name](eight_doses, subfigure=low)
    assert not low.axes


def test_the_smallest_accepted_subfigure_can_be_laid_out(real: xr.Dataset) -> None:
    with pytest.raises(UsageError, match=r"at least [0-9.]+ inches") as error:
        plot.figure1(real, subfigure=plt.figure(figsize=(3.5, 3.2)).subfigures(1, 1))
    height = float(str(error.value).split("at least ")[1].split()[0]) + 0.05
    figure = plt.figure(figsize=(3.5, height))
    plot.figure1(real, subfigure=figure.subfigures(1, 1))
    figure.draw_without_rendering()  # a layout that collapses is a warning


@pytest.mark.parametrize("name", ["hue", "survival", "calibration"])
def test_the_sizes_of_a_style_are_kept(sample_ds: xr.Dataset, name: str) -> None:
    style = {"figure.figsize": (6.5, 9), "axes.labelsize": 11, "legend.fontsize": 6.5}
    with mpl.rc_context(style):
        figure = FIGURES[name](sample_ds.sel(alpha=[0.5, 2]))
    assert figure.get_size_inches().tolist() == [6.5, 9]
    (legend, *_) = figure.legends
    assert {text.get_fontsize() for text in legend.get_texts()} <= {6.5}
    if name != "survival":
        assert figure.axes[0].yaxis.label.get_fontsize() == 11


@pytest.mark.parametrize("name", ["hue", "survival", "alive"])
def test_text_does_not_overlap_after_a_figure_is_resized(sample_ds: xr.Dataset, name: str) -> None:
    figure = FIGURES[name](sample_ds.sel(alpha=[0.5, 2]), title="Mine")
    width, height = figure.get_size_inches()
    figure.set_size_inches(width + 2, height + 1)
    figure.suptitle("Two lines\nof my own")
    assert_legible(figure)


def test_mapping_over_the_panels_keeps_titles_and_layout(sample_ds: xr.Dataset) -> None:
    grid = plot.figure1(sample_ds, alphas=[0.5, 2])
    before = [ax.get_title() for ax in grid.axs.flat]
    seen = []
    grid.map(lambda n: seen.append(int(n)) or plt.axvline(5), "n")
    assert [ax.get_title() for ax in grid.axs.flat] == before
    assert seen == [96] * 4
    assert all([5, 5] in [list(line.get_xdata()) for line in ax.lines] for ax in grid.axs.flat)
    assert_legible(grid.fig)
