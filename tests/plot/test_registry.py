"""Figures drawn again from their numbers alone."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pytest
import xarray as xr

import isoklx
from isoklx import plot
from isoklx.errors import DatasetError, UsageError
from tests.plot.test_baselines import assert_alike, described

FIGURES: dict[str, Callable[[xr.Dataset], Any]] = {
    "hue": lambda ds: plot.figure1(ds, hue="method", kind="fan"),
    "rows": lambda ds: plot.figure1(ds, by="seed", kl_only=True),
    "linear": lambda ds: plot.figure1(ds, linear=True, kl_ymax=3, mark_t=9, median_lw=3),
    "spaghetti": lambda ds: plot.figure1(ds, kind="spaghetti", by="method", line_lw=2),
    "by pmass": lambda ds: plot.figure1(ds, kind="spaghetti", color_by_pmass=True, line_alpha=0.3),
    "alive": lambda ds: plot.alive(ds, by="method"),
    "alive linear": lambda ds: plot.alive(ds, linear=True, kl_ymax=2.5),
    "survival": lambda ds: plot.survival(ds, by="method"),
    "survival of KL": lambda ds: plot.survival(ds, metric="kl", threshold=[1, 2]),
    "dose_response": lambda ds: plot.dose_response(ds, survive=0.5),
    "calibration": plot.calibration,
}


def pixels(figure: Any) -> npt.NDArray[Any]:
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=60)
    image.seek(0)
    return np.asarray(plt.imread(image))


def figure_of(drawn: Any) -> Any:
    return getattr(drawn, "fig", drawn)


def drawn_twice(ds: xr.Dataset, folder: Path, name: str) -> tuple[Any, Any]:
    """Return a figure of two doses, and the figure drawn from a file of its numbers."""
    drawn = FIGURES[name](ds.sel(alpha=[1, 2]))
    drawn.data.to_netcdf(folder / "drawn.nc")
    with xr.open_dataset(folder / "drawn.nc") as data:
        return drawn, plot.redraw(data)


@pytest.mark.parametrize("name", FIGURES)
def test_numbers_from_a_file_redraw_the_figure(
    sample_ds: xr.Dataset, tmp_path: Path, name: str
) -> None:
    drawn, again = drawn_twice(sample_ds, tmp_path, name)
    assert type(again) is type(drawn)
    assert_alike(described(figure_of(again)), described(figure_of(drawn)), name)


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_numbers_from_a_file_draw_the_same_pixels(
    sample_ds: xr.Dataset, tmp_path: Path, name: str
) -> None:
    drawn, again = drawn_twice(sample_ds, tmp_path, name)
    np.testing.assert_array_equal(pixels(figure_of(again)), pixels(figure_of(drawn)))


def test_a_redrawn_figure_may_have_another_width_and_title(sample_ds: xr.Dataset) -> None:
    grid = plot.figure1(sample_ds, alphas=[1, 2])
    again = figure_of(plot.redraw(grid.data, width="column", title="Mine"))
    assert (again.get_figwidth(), again.get_suptitle()) == (3.3, "Mine")
    place = plt.figure(figsize=(8, 6)).subfigures(1, 2)[0]
    assert figure_of(plot.redraw(grid.data, subfigure=place)) is place


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda ds: ds, "not the numbers of a figure: pass grid.data"),
        (lambda ds: "outputs.nc", "expected xarray.Dataset, got str"),
        (lambda ds: plot.alive(ds, alphas=1), "expected xarray.Dataset, got Grid"),
        (
            lambda ds: plot.figure1(ds, alphas=1).data.drop_vars("target_kl"),
            "numbers of the figure are incomplete: .*target_kl",
        ),
    ],
)
def test_other_objects_than_figure_data_are_refused(
    sample_ds: xr.Dataset, make: Any, message: str
) -> None:
    given = make(sample_ds)
    plt.close("all")
    with pytest.raises(DatasetError, match=message):
        plot.redraw(given)
    assert not plt.get_fignums()


def test_a_width_out_of_range_is_refused(sample_ds: xr.Dataset) -> None:
    with pytest.raises(UsageError, match=r"width must .*, got 0"):
        isoklx.plot.redraw(plot.survival(sample_ds).data, width=0)
