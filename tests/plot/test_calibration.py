from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.testing import assert_allclose

import isoklx
from isoklx.errors import DatasetError
from isoklx.plot.calibration import calibration, draw_numbers
from isoklx.plot.page import Page
from isoklx.simulation.sweep import grid, simulate
from tests.plot.legibility import assert_legible


def panels(figure: Figure) -> dict[str, Axes]:
    return {ax.get_label(): ax for ax in figure.axes}


def marks(ax: Axes) -> list[Line2D]:
    return [line for line in ax.lines if line.get_linestyle() == "None"]


def positions(lines: list[Line2D]) -> list[tuple[float, float]]:
    return [point for line in lines for point in zip(*line.get_data(), strict=True)]


def c_stars(figure: Figure) -> list[tuple[float, float]]:
    """Return the large marks among the lines of the calibration steps."""
    lines = panels(figure)["bisection"].lines
    return positions([line for line in lines if len(line.get_xdata()) == 1])


def simulated(root: Path, *args: Any, **fields: Any) -> xr.Dataset:
    fields = {"prompts": 1, "questions": 0, "alphas": (0.0, 1.0)} | fields
    simulate(root, grid(*args, [16], **fields))
    return isoklx.open_sweep(root)


def test_the_steps_of_each_cell_are_drawn_by_coefficient(real: xr.Dataset) -> None:
    ax = panels(calibration(real))["bisection"]
    curves = [
        line for line in ax.lines if line.get_marker() != "None" and len(line.get_xdata()) > 1
    ]
    assert len(curves) == 9
    for line, (_, cell) in zip(curves, real.groupby("run_id"), strict=True):
        ascending = cell.isel(cell=0).sortby("calib_coeff")
        assert_allclose(line.get_xdata(), ascending.calib_coeff)
        assert_allclose(line.get_ydata(), ascending.calib_kl_p95)
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")


def test_c_star_is_marked_at_the_last_step(real: xr.Dataset) -> None:
    last = real.calib_kl_p95.isel(iteration=-1)
    assert_allclose(c_stars(calibration(real)), np.column_stack([real.c_star, last]))


def test_a_c_star_between_steps_is_marked_on_its_line(real: xr.Dataset) -> None:
    between = real.isel(cell=[0]).assign(c_star=("cell", [np.sqrt(0.8 * 1.6)]))
    ((_, p95),) = c_stars(calibration(between))
    assert p95 == pytest.approx(np.sqrt(between.calib_kl_p95.values[0, 1:3].prod()))


@pytest.mark.parametrize(("beyond", "end"), [(0.5, "min"), (1 + 1e-12, "max"), (2, "max")])
def test_a_c_star_beyond_all_steps_is_marked_at_the_end_of_its_line(
    real: xr.Dataset, beyond: float, end: str
) -> None:
    one = real.isel(cell=[0])
    coeff = beyond * float(getattr(one.calib_coeff, end)())
    pinned = one.assign(c_star=("cell", [coeff]))
    p95 = float(getattr(one.calib_kl_p95, end)())
    assert_allclose(c_stars(calibration(pinned)), [(coeff, p95)])


def test_coefficients_of_both_signs_are_two_lines(real: xr.Dataset) -> None:
    one = real.isel(cell=[0])
    turned = one.assign(calib_coeff=-one.calib_coeff, calib_kl_p95=3 * one.calib_kl_p95)
    both = xr.concat([one, turned], "iteration", data_vars="minimal").transpose("cell", ...)
    figure = calibration(both)
    ax = panels(figure)["bisection"]
    lines = [line for line in ax.lines if len(line.get_xdata()) > 1 and line.get_marker() != "None"]
    expected = one.isel(cell=0).sortby("calib_coeff").calib_kl_p95
    below, above = (line.get_ydata() for line in lines)
    assert_allclose(below, 3 * expected)
    assert_allclose(above, expected)
    assert_allclose(c_stars(figure), [(one.c_star.item(), one.calib_kl_p95.values[0, -1])])
    assert ax.get_xlabel() == "|coefficient|"


def test_each_model_has_a_line_style_and_a_legend_entry(
    sample_ds: xr.Dataset, real: xr.Dataset
) -> None:
    figure = calibration(sample_ds)
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    said = dict(zip(names, (line.get_linestyle() for line in legend.get_lines()), strict=True))
    assert len(set(said.values())) == 2
    ax = panels(figure)["bisection"]
    lines = [line for line in ax.lines if len(line.get_xdata()) > 1 and line.get_marker() != "None"]
    drawn = [line.get_linestyle() for line in lines]
    assert drawn == [said[name] for name in sample_ds.model_short.values]
    assert not calibration(real).legends


def test_the_style_of_a_method_does_not_depend_on_the_other_methods(sample_ds: xr.Dataset) -> None:
    def colour(ds: xr.Dataset) -> object:
        ax = panels(calibration(ds))["c_star"]
        (label,) = {t.get_color() for t in ax.get_yticklabels() if t.get_text() == "pca"}
        return label

    assert colour(sample_ds) == colour(sample_ds.query(cell="method == 'pca'"))


def test_in_range_agrees_with_the_table(sample_ds: xr.Dataset) -> None:
    # At the edge of the range, where rounding in the table matters.
    edge = xr.zeros_like(sample_ds.kl_p95, float) + 0.7 * 3 - 2e-9
    ds = sample_ds.assign(kl_p95=edge, target_kl=3 * sample_ds.target_kl)
    told = isoklx.calibration_table(ds).heldout_in_range.value_counts()
    title = " ".join(panels(calibration(ds))["heldout"].get_title(loc="left").split())
    assert f"{told.get('yes', 0)} of 12 in" in title
    assert (f"{told.get('unclear', 0)} unclear" in title) == ("unclear" in told)


def test_there_is_a_line_at_each_target(real: xr.Dataset) -> None:
    two = real.assign(target_kl=xr.where(real.seed == 0, 0.5, 1.0))
    ax = panels(calibration(two))["bisection"]
    across = [line.get_ydata()[0] for line in ax.lines if line.get_linestyle() == "--"]
    assert sorted(across) == [0.5, 1.0]


def test_there_is_one_mark_per_cell_and_none_overlap(real: xr.Dataset) -> None:
    ax = panels(calibration(real))["c_star"]
    drawn = positions(marks(ax))
    assert_allclose(sorted(x for x, _ in drawn), sorted(real.c_star.values))
    assert len(set(drawn)) == 9
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "directional_ablation",
        "mean_diff",
        "pca",
    ]


def test_marks_lie_in_the_row_of_their_method(real: xr.Dataset) -> None:
    ax = panels(calibration(real))["c_star"]
    methods = [label.get_text() for label in ax.get_yticklabels()]
    for x, y in positions(marks(ax)):
        assert methods[round(y)] in real.method.values[np.isclose(real.c_star, x)]


def test_the_marks_of_a_tall_stack_are_counted(tmp_path: Path) -> None:
    ds = simulated(tmp_path, ["org/m"], ["pca"], range(9), repeat_seeds=True)
    figure = calibration(ds)
    for name in ("c_star", "heldout"):
        ax = panels(figure)[name]
        assert len(set(positions(marks(ax)))) == 9
        assert "\N{MULTIPLICATION SIGN}9" in [text.get_text() for text in ax.texts]


def test_models_are_headings_above_their_methods(sample_ds: xr.Dataset) -> None:
    ax = panels(calibration(sample_ds))["c_star"]
    labels = [label.get_text() for label in ax.get_yticklabels()]
    methods = ["directional_ablation", "mean_diff", "pca"]
    assert labels == ["simulated-1B", *methods, "simulated-8B", *methods]


def test_models_with_the_same_short_name_are_not_pooled(sample_ds: xr.Dataset) -> None:
    names = sample_ds.model_short.values
    ds = sample_ds.assign_coords(
        model_short=("cell", ["same"] * 12), model=("cell", [f"{name}/same" for name in names])
    )
    labels = [label.get_text() for label in panels(calibration(ds))["c_star"].get_yticklabels()]
    assert {"simulated-1B/same", "simulated-8B/same"} <= set(labels)


def test_held_out_p95_is_drawn_over_its_target_and_open_outside_the_range(
    sample_ds: xr.Dataset,
) -> None:
    expected = sample_ds.kl_p95.sel(alpha=1.0) / sample_ds.target_kl
    ax = panels(calibration(sample_ds))["heldout"]
    drawn = marks(ax)
    assert_allclose(sorted(x for x, _ in positions(drawn)), np.sort(expected))
    unfilled = [line for line in drawn if line.get_markerfacecolor() == "white"]
    in_range = isoklx.calibration_table(sample_ds).heldout_in_range.values == "yes"
    assert_allclose(sorted(x for x, _ in positions(unfilled)), np.sort(expected[~in_range]))
    assert "0 of 12 in range, 12 unclear" in " ".join(ax.get_title(loc="left").split())
    (band,) = ax.patches
    assert (band.get_x(), band.get_x() + band.get_width()) == pytest.approx((0.7, 1.4))


def intervals(ax: Axes) -> list[tuple[float, float, float]]:
    """Return height, start and end of each interval."""
    segments = [line for each in ax.collections for line in each.get_segments()]  # type: ignore[attr-defined]
    return [(start[1], start[0], end[0]) for start, end in segments]


def test_the_interval_of_a_held_out_p95_goes_through_its_mark(sample_ds: xr.Dataset) -> None:
    table = isoklx.calibration_table(sample_ds)
    ax = panels(calibration(sample_ds))["heldout"]
    drawn = {(round(x, 9), y) for x, y in positions(marks(ax))}
    expected = sorted(zip(table["heldout_lower"], table["heldout_upper"], strict=True))
    assert_allclose(sorted((low, high) for _, low, high in intervals(ax)), expected)
    p95 = dict(zip(expected, [0.0] * 12, strict=True)) | {
        (row.heldout_lower, row.heldout_upper): row.heldout_kl_p95 for row in table.itertuples()
    }
    for y, low, high in intervals(ax):
        (x,) = (p95[each] for each in p95 if np.allclose(each, (low, high)))
        assert (round(x, 9), y) in drawn
    low, high = ax.get_xlim()
    assert low < table["heldout_lower"].min()
    assert high > table["heldout_upper"].max()


def test_overlapping_intervals_are_stacked(sample_ds: xr.Dataset) -> None:
    heights = [y for y, _, _ in intervals(panels(calibration(sample_ds))["heldout"])]
    assert len(set(heights)) == 12


def test_an_interval_down_to_0_keeps_the_axis_logarithmic(sample_ds: xr.Dataset) -> None:
    data = calibration(sample_ds).data
    data["heldout_ci"] = data["heldout_ci"].where(data["ci_bound"] == "upper", 0)
    ax = panels(draw_numbers(data, Page()))["heldout"]
    assert ax.get_xscale() == "log"
    assert ax.get_xlim()[0] > 0.1


@pytest.mark.parametrize("wide", [1.0, 3.0, 30.0])
def test_ticks_are_legible_with_a_wide_interval(sample_ds: xr.Dataset, wide: float) -> None:
    data = calibration(sample_ds).data
    lower = data["ci_bound"] == "lower"
    data["heldout_ci"] *= xr.where(lower, 1 / wide, wide)
    assert_legible(draw_numbers(data, Page("column")))


def test_a_single_prompt_has_no_interval(sample_ds: xr.Dataset) -> None:
    figure = calibration(sample_ds.isel(prompt=[0]))
    assert not intervals(panels(figure)["heldout"])
    assert_legible(figure)


@pytest.mark.parametrize("width", [2.5, 3.3])
def test_names_of_methods_are_not_shortened_in_a_column(real: xr.Dataset, width: float) -> None:
    figure = calibration(real, width=width)
    names = [label.get_text() for label in panels(figure)["c_star"].get_yticklabels()]
    assert names == ["directional_ablation", "mean_diff", "pca"]
    assert_legible(figure)


def test_held_out_values_close_to_each_other_can_be_counted(real: xr.Dataset) -> None:
    near = real.kl_p95.where(real.alpha != 1, 1 + 1e-3 * real.seed)
    ax = panels(calibration(real.assign(kl_p95=near)))["heldout"]
    of_pca = [y for _, y in positions(marks(ax)) if y > 1.5]
    assert np.diff(sorted(of_pca)).min() > 0.2


@pytest.mark.parametrize(
    ("missing", "left"),
    [
        ({"iteration": slice(0)}, ["c_star", "heldout"]),
        ({"alpha": [0, 1, 2, 4, 5]}, ["bisection", "c_star"]),
        ({"iteration": slice(0), "alpha": slice(0)}, ["c_star"]),
    ],
)
def test_a_panel_without_data_is_left_out(
    sample_ds: xr.Dataset, missing: dict[str, Any], left: list[str]
) -> None:
    figure = calibration(sample_ds.isel(missing))
    assert list(panels(figure)) == left
    assert [ax.get_title(loc="left")[:3] for ax in figure.axes] == ["(a)", "(b)"][: len(left)]


def test_cells_without_history_or_dose_1_are_drawn_among_others(real: xr.Dataset) -> None:
    first = xr.DataArray(np.arange(9) == 0, dims="cell")
    bare = real.assign(
        {name: real[name].where(~first) for name in ("calib_coeff", "calib_kl_p95", "kl_p95")}
    )
    drawn = panels(calibration(bare))
    assert len(positions(marks(drawn["c_star"]))) == 9
    assert len(positions(marks(drawn["heldout"]))) == 8


def test_a_coefficient_below_0_is_drawn_by_its_magnitude(real: xr.Dataset) -> None:
    turned = real.assign(c_star=-real.c_star, calib_coeff=-real.calib_coeff)
    drawn = panels(calibration(turned))
    assert drawn["bisection"].get_xlabel() == "|coefficient|"
    assert max(x for x, _ in positions(marks(drawn["c_star"]))) < 0


@pytest.mark.parametrize("cells", [[0], slice(None)])
def test_all_text_is_legible(real: xr.Dataset, sample_ds: xr.Dataset, cells: Any) -> None:
    for ds in (real, sample_ds):
        assert_legible(calibration(ds.isel(cell=cells)))


def test_hundreds_of_cells_with_long_names_are_legible(tmp_path: Path) -> None:
    long = "a_method_$x^2$_with_quite_a_long_name_that_goes_on"
    methods = [long, "directional_ablation", "lora", "mean_diff", "pca", "sae"]
    ds = simulated(tmp_path, [f"org/model-{i}B" for i in range(5)], methods, range(4))
    figure = calibration(ds)
    assert len(positions(marks(panels(figure)["c_star"]))) == ds.sizes["cell"] == 120
    assert_legible(figure)


def test_calibrated_only_cells_are_drawn(tmp_path: Path) -> None:
    ds = simulated(tmp_path, ["org/m"], ["pca"], [0, 1], lacks="sweep")
    figure = calibration(ds)
    assert len(positions(marks(panels(figure)["c_star"]))) == 2
    assert_legible(figure)


def test_the_title_counts_cells_and_the_distinct_ones(real: xr.Dataset) -> None:
    heading = calibration(real).get_suptitle()
    assert "9 cells (3 distinct)" in heading
    assert "n = " not in heading
    assert "1 cell (1 distinct)" in calibration(real.isel(cell=[0])).get_suptitle()


def test_the_steps_show_the_statistic_of_the_target(sample_ds: xr.Dataset) -> None:
    stats = ["mean"] * 6 + ["rms"] * 6
    figure = calibration(sample_ds.assign_coords(target_stat=("cell", stats)))
    ax = panels(figure)["bisection"]
    assert ax.get_ylabel() == "mean of KL (nats)"
    assert "rms of 6 not recorded" in ax.get_title(loc="left")
    lines = [line for line in ax.lines if len(line.get_xdata()) > 1 and line.get_marker() != "None"]
    assert len(lines) == 6
    expected = sample_ds.isel(cell=0).sortby("calib_coeff").calib_kl_mean.dropna("iteration")
    assert_allclose(lines[0].get_ydata(), expected)
    assert "heldout" not in panels(figure), "p95 is not comparable to a target of another statistic"


def test_a_figure_can_be_redrawn_from_its_data(sample_ds: xr.Dataset) -> None:
    figure = calibration(sample_ds)
    again = draw_numbers(figure.data.copy(deep=True), Page())
    for ax, other in zip(figure.axes, again.axes, strict=True):
        for one, two in zip(ax.lines, other.lines, strict=True):
            assert_allclose(one.get_xydata(), two.get_xydata())
    assert figure.get_suptitle() == again.get_suptitle()


def test_without_c_star_the_error_is_one_line(real: xr.Dataset) -> None:
    with pytest.raises(DatasetError, match=r"^[^\n]*c_star[^\n]*$"):
        calibration(real.assign(c_star=real.c_star * np.nan))
    with pytest.raises(DatasetError, match="not an isoklx sweep"):
        calibration(xr.Dataset())


def test_drawing_changes_neither_settings_nor_data(real: xr.Dataset) -> None:
    before, settings = real.copy(deep=True), copy.deepcopy(dict(mpl.rcParams))
    calibration(real)
    xr.testing.assert_identical(real, before)
    assert dict(mpl.rcParams) == settings
