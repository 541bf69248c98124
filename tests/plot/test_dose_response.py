from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D

import isoklx
from isoklx.errors import DatasetError, UsageError
from isoklx.plot.dose_response import dose_response, draw_numbers
from isoklx.plot.layout import Grid
from isoklx.plot.page import Page
from isoklx.plot.palette import METHODS
from isoklx.plot.titles import ALPHA
from isoklx.simulation.sweep import CellSpec, simulate
from tests.plot.legibility import assert_legible
from tests.plot.panels import bands_of

EVERYTHING = (
    *("survival", "restricted_mean", "kl_p95", "share_above", "pmass"),
    *("pmass_end", "acquiescence", "correct", "repetition"),
)


@pytest.fixture(scope="module")
def measured(real_root) -> xr.Dataset:  # type: ignore[no-untyped-def]
    return isoklx.open_sweep(real_root)


@pytest.fixture(scope="module")
def whole(measured: xr.Dataset) -> Iterator[Grid]:
    grid = dose_response(measured, show=EVERYTHING, survive=0.6)
    yield grid
    plt.close(grid.fig)  # type: ignore[arg-type]


def panel(grid: Grid, shown: str) -> Axes:
    names = [name and name["shown"] for name in grid.name_dicts.flat]
    return grid.axs.flat[names.index(shown)]


def line(ax: Axes, label: str) -> Line2D:
    return next(line for line in ax.lines if line.get_label() == label)


def nearest(x: Any, doses: Any) -> list[float]:
    """Return the dose of each mark, the nearest one on the axis."""
    places = np.arcsinh(4 * np.asarray(doses))
    return [doses[int(np.argmin(np.abs(np.arcsinh(4 * each) - places)))] for each in x]


def rings(ax: Axes, doses: Any) -> dict[str, float]:
    """Return the ringed dose of each method, by colour."""
    marked = [each for each in ax.lines if each.get_gid() == "safe"]
    return {to_hex(m.get_markeredgecolor()): nearest(m.get_xdata(), doses)[0] for m in marked}


def entries(grid: Grid) -> list[str]:
    assert grid.figlegend is not None
    return [text.get_text() for text in grid.figlegend.get_texts()]


def note(grid: Grid) -> str:
    assert grid.figlegend is not None
    return " ".join(grid.figlegend.get_title().get_text().split())


def test_each_line_is_the_estimate_of_a_method_at_each_dose(
    whole: Grid, measured: xr.Dataset
) -> None:
    doses = isoklx.dose_response(measured)
    alphas = doses["alpha"].values
    for shown in EVERYTHING[:6]:
        for method in doses["method"].values:
            drawn = line(panel(whole, shown), method)
            expected = doses[shown].loc[{"method": method}].values.ravel()
            at = np.searchsorted(alphas, nearest(drawn.get_xdata(), alphas))
            np.testing.assert_array_equal(drawn.get_ydata(), expected[at])
            assert to_hex(drawn.get_color()) == METHODS[method][0]


def test_bars_are_the_intervals(whole: Grid, measured: xr.Dataset) -> None:
    bounds = isoklx.dose_response(measured)["pmass_ci"]
    for bars, method in zip(panel(whole, "pmass").collections, bounds["method"], strict=True):
        drawn = [segment[:, 1] for segment in bars.get_segments()]
        np.testing.assert_array_equal(drawn, bounds.loc[{"method": method}])


def test_the_dose_axis_is_numeric_with_ticks_at_the_doses(whole: Grid) -> None:
    ax = panel(whole, "survival")
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0", "0.5", "1", "2", "4"]
    assert ax.get_xticks().tolist() == [0, 0.5, 1, 2, 4]
    x = [ax.transData.transform((dose, 0))[0] for dose in (0, 0.5, 1, 2, 4)]
    assert np.ptp(np.diff(x) / np.diff(np.arcsinh([0, 2, 4, 8, 16]))) < 1e-6


def test_doses_without_room_for_a_label_have_a_tick(eight_doses: xr.Dataset) -> None:
    ax = dose_response(eight_doses, width="column").axs[0, 0]
    major, minor = ax.get_xticks(), ax.get_xticks(minor=True)
    assert sorted([*major, *minor]) == eight_doses["alpha"].values.tolist()
    assert {0, 1, 4} <= set(major)


def test_marks_of_six_methods_stand_at_their_own_dose(tmp_path: Path) -> None:
    alphas = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
    names = ["a", "b", "c", "d", "e", "f"]
    cells = [CellSpec(method=name, alphas=alphas, window=8, prompts=2) for name in names]
    simulate(tmp_path, cells)
    ax = dose_response(isoklx.open_sweep(tmp_path), show="pmass", width="page").axs[0, 0]
    gap = np.diff(np.arcsinh(4 * np.array(alphas))).min()
    for name in names:
        drawn = line(ax, name).get_xdata()
        off = np.arcsinh(4 * drawn) - np.arcsinh(4 * np.array(alphas))
        assert np.abs(off).max() < 0.25 * gap
    assert len({line(ax, name).get_xdata()[3] for name in names}) == 6


def test_negative_doses_lie_left_of_0(tmp_path: Path) -> None:
    simulate(tmp_path, [CellSpec(method="a", alphas=(-1.0, 0.0, 1.0), window=8, prompts=2)])
    ax = dose_response(isoklx.open_sweep(tmp_path), show="survival").axs[0, 0]
    np.testing.assert_allclose(line(ax, "a").get_xdata(), [-1, 0, 1])
    left, middle, right = (ax.transData.transform((dose, 0))[0] for dose in (-1, 0, 1))
    assert middle - left == pytest.approx(right - middle)


def test_many_doses_are_drawn_as_a_line_and_a_band(tmp_path: Path) -> None:
    alphas = tuple(np.round(np.linspace(0, 4, 41), 2).tolist())
    simulate(tmp_path, [CellSpec(method="a", alphas=alphas, window=8, prompts=2)])
    ax = dose_response(isoklx.open_sweep(tmp_path), show="survival").axs[0, 0]
    assert line(ax, "a").get_markersize() == 0
    ((lower, upper),) = [(low, high) for _, low, high in bands_of(ax)]
    bounds = isoklx.dose_response(isoklx.open_sweep(tmp_path), level=0.9)["survival_ci"]
    bounds = bounds.squeeze().dropna("alpha")
    np.testing.assert_allclose(lower, bounds.sel(ci_bound="lower"))
    np.testing.assert_allclose(upper, bounds.sel(ci_bound="upper"))
    assert_legible(ax.figure)  # type: ignore[arg-type]


def test_the_safe_dose_of_each_method_is_marked_and_listed(
    whole: Grid, measured: xr.Dataset
) -> None:
    table = isoklx.safe_dose(measured, survive=0.6).set_index("method")["safe_dose"]
    doses = whole.data["alpha"].values.tolist()
    expected = {METHODS[method][0]: safe for method, safe in table.items()}
    for shown in ("survival", "pmass"):
        assert rings(panel(whole, shown), doses) == expected
    for name, safe in table.items():
        assert f"{name}, n = 24 (8 distinct), safe: {ALPHA} ≤ {safe:g}" in entries(whole)


def test_rings_of_safe_doses_are_not_clipped_and_are_in_the_legend(
    whole: Grid, measured: xr.Dataset
) -> None:
    marked = [each for each in panel(whole, "survival").lines if each.get_gid() == "safe"]
    assert [each.get_ydata()[0] for each in marked] == [1, 1, 1]
    assert not any(each.get_clip_on() for each in marked)
    assert {"safe dose", "60% survive"} <= set(entries(whole))
    assert "safe dose" not in entries(dose_response(measured, survive=0.9))
    assert not any(
        "survive" in each for each in entries(dose_response(measured, show="acquiescence"))
    )


def test_without_a_title_the_counts_and_definitions_remain(
    measured: xr.Dataset,
) -> None:
    grid = dose_response(measured, title=False, width="column")
    said = note(grid)
    assert said.startswith(
        "Safe dose: 95% confidence that at least 90% survive, at it and at every smaller dose."
    )
    assert "Dead once pmass_eval < 0.75." in said
    assert (
        "90% intervals: beta product, prompts independent, rollouts that end early are censored. "
        "Safe doses use the lower ends."
    ) in said
    assert sum("n = 24 (8 distinct)" in each for each in entries(grid)) == 3
    assert "beta product" not in note(dose_response(measured, show="acquiescence"))


def test_unequal_held_out_kl_of_groups_is_noted(measured: xr.Dataset) -> None:
    said = note(dose_response(measured))
    kl = isoklx.dose_response(measured)["heldout_kl"].sel(alpha=1)
    assert f"Held-out p95 of KL at alpha 1: {kl.min():.3g} to {kl.max():.3g} nats." in said
    assert "differs between groups by more than its 95% intervals at alpha 0.5, 2, 4" in said
    assert "Held-out" not in note(dose_response(measured, by=None))


def test_safe_doses_of_both_signs_are_marked_and_listed(measured: xr.Dataset) -> None:
    both = measured.sel(alpha=[0.0, 0.5, 1.0, 2.0]).assign_coords(alpha=[-0.5, 0.0, 1.0, 2.0])
    table = isoklx.safe_dose(both, survive=0.6).set_index(["method", "toward"])["safe_dose"]
    grid = dose_response(both, survive=0.6)
    marked = [each for each in grid.axs.flat[0].lines if each.get_gid() == "safe"]
    assert len(marked) == table.notna().sum() == 6
    low, high = table["pca", "-"], table["pca", "+"]
    assert f"pca, n = 24 (8 distinct), safe: {low:g} ≤ {ALPHA} ≤ {high:g}" in entries(grid)


def test_the_reason_for_no_safe_dose_is_noted(measured: xr.Dataset) -> None:
    grid = dose_response(measured, survive=0.9)
    assert not rings(grid.axs.flat[0], [0.0])
    assert "pca, n = 24 (8 distinct), safe: none" in entries(grid)
    assert "Reason for none: too few prompts: 8, all alive, give 0.69; 29 would do." in note(grid)
    assert "n = 72 (24 distinct)" in grid.fig.get_suptitle()


def test_kl_below_the_axis_is_marked_at_its_edge_and_the_target_drawn(whole: Grid) -> None:
    ax = panel(whole, "kl_p95")
    below = [each for each in ax.lines if each.get_gid() == "below"]
    assert [round(x) for each in below for x in each.get_xdata()] == [0, 0]
    assert [1.0, 1.0] in [list(each.get_ydata()) for each in ax.lines]
    assert ax.get_yscale() == "log"


def test_a_panel_without_measurements_says_so(whole: Grid) -> None:
    for shown in ("acquiescence", "correct", "repetition"):
        assert [text.get_text() for text in panel(whole, shown).texts] == ["not measured"]


def test_two_panels_are_shown_by_default(sample_ds: xr.Dataset) -> None:
    grid = dose_response(sample_ds)
    assert [name["shown"] for name in grid.name_dicts.flat] == ["survival", "kl_p95"]
    one = dose_response(sample_ds, show="acquiescence")
    assert one.axs.shape == (1, 1)
    assert one.axs[0, 0].get_ylabel() == "change of p_true"


def test_coefficients_shared_by_all_cells_are_shown_at_the_top(measured: xr.Dataset) -> None:
    def above(grid: Grid) -> list[str]:
        tops = grid.axs[0, 0].child_axes
        return [text.get_text() for top in tops for text in top.get_xticklabels()]

    pca = dose_response(measured.query(cell="method == 'pca'"))
    assert above(pca) == ["0", "0.8", "1.6", "3.2", "6.4"]
    assert above(dose_response(measured)) == []


def test_survival_has_a_panel_for_each_threshold(sample_ds: xr.Dataset) -> None:
    grid = dose_response(sample_ds, threshold=[0.5, 0.9])
    assert [name.get("threshold") for name in grid.name_dicts.flat] == [0.5, 0.9, None]
    assert grid.axs[0, 1].get_title() == "dead once pmass_eval < 0.9"


def test_groups_of_two_labels_differ_in_colour_and_line_style(sample_ds: xr.Dataset) -> None:
    ax = dose_response(sample_ds, by=["method", "model_short"]).axs[0, 0]
    one, other = (line(ax, f"pca, simulated-{size}B") for size in (1, 8))
    assert one.get_color() == other.get_color() == METHODS["pca"][0]
    assert one.get_linestyle() != other.get_linestyle()
    assert entries(dose_response(sample_ds, by=None))[0].startswith("all cells, n = 96")


def test_a_dose_that_a_method_was_not_run_at_has_no_mark(tmp_path: Path) -> None:
    shared: dict[str, Any] = {"window": 16, "prompts": 2}
    simulate(
        tmp_path,
        [
            CellSpec(method="a", alphas=(0.5, 1.0), **shared),
            CellSpec(method="b", alphas=(1.0,), **shared),
        ],
    )
    ax = dose_response(isoklx.open_sweep(tmp_path), show="survival").axs[0, 0]
    assert [len(line(ax, name).get_xdata()) for name in "ab"] == [2, 1]


def test_a_figure_can_be_redrawn_from_its_data(whole: Grid) -> None:
    again = draw_numbers(whole.data.copy(deep=True), Page())
    for ax, other in zip(whole.axs.flat, again.axs.flat, strict=True):
        assert ax.get_ylim() == other.get_ylim()
        for one, two in zip(ax.lines, other.lines, strict=True):
            np.testing.assert_array_equal(one.get_xydata(), two.get_xydata())
    assert whole.fig.get_suptitle() == again.fig.get_suptitle()


@pytest.mark.slow
@pytest.mark.parametrize("width", [3.3, 5.5, 7.0])
@pytest.mark.parametrize("doses", [1, 5, 8])
def test_all_text_is_legible_at_any_width(
    eight_doses: xr.Dataset, width: float, doses: int
) -> None:
    ds = eight_doses.isel(alpha=slice(-doses, None))
    grid = dose_response(ds, width=width, show=["survival", "kl_p95", "pmass"])
    assert grid.fig.get_figwidth() == width
    assert_legible(grid.fig)  # type: ignore[arg-type]


def test_a_figure_can_be_drawn_into_a_subfigure(measured: xr.Dataset) -> None:
    figure = plt.figure(figsize=(9, 4))
    left, right = figure.subfigures(1, 2)
    for place in (left, right):
        grid = dose_response(measured, subfigure=place, title=False)
        assert grid.fig is place
        assert not place.get_suptitle()
    assert plt.get_fignums() == [figure.number]  # type: ignore[attr-defined]
    assert_legible(figure)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"show": "kl"}, "show must be any of survival, restricted_mean.*, got 'kl'"),
        ({"show": []}, "show must name at least one of"),
        ({"survive": 2}, "survive must be .* got 2"),
        ({"by": "colour"}, "cannot group by 'colour'"),
        ({"alphas": [3]}, "alpha 3 not found"),
        ({"width": 0}, "width must .*, got 0"),
    ],
)
def test_invalid_options_are_refused_in_one_line(
    sample_ds: xr.Dataset, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as error:
        dose_response(sample_ds, **options)
    assert "\n" not in str(error.value)
    assert not plt.get_fignums()


def test_nothing_to_draw_is_an_error(sample_ds: xr.Dataset) -> None:
    with pytest.raises(DatasetError, match="pmass_eval"):
        dose_response(sample_ds.assign(has_pmass=sample_ds["has_pmass"] * 0))
