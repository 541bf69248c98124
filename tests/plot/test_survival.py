from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from numpy.testing import assert_array_equal

import isoklx
from isoklx.errors import DatasetError, UsageError
from isoklx.plot.palette import dose_colours, method_styles
from isoklx.plot.survival import survival
from isoklx.plot.titles import dose
from isoklx.simulation.sweep import grid as cells_of
from isoklx.simulation.sweep import simulate
from isoklx.stats import survival as survival_curves
from tests.plot.legibility import assert_legible
from tests.small_sweeps import small_sweep

NAN = float("nan")


def curves_in(ax: Axes) -> dict[str, Line2D]:
    return {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}


def numbers_below(ax: Axes) -> dict[tuple[int, str], str]:
    """Return the text below the axis by tick and dose."""
    doses = list(curves_in(ax))
    below = [text for text in ax.texts if text.xyann[0] == 0 and text.xyann[1] < 0]
    heights = sorted({text.xyann[1] for text in below}, reverse=True)
    return {(text.xy[0], doses[heights.index(text.xyann[1])]): text.get_text() for text in below}


def test_each_curve_is_the_estimate_from_token_0_on(real: xr.Dataset) -> None:
    thresholds = [0.75, 0.95]
    expected = survival_curves.survival(real, threshold=thresholds).survival
    grid = survival(real, threshold=thresholds)
    for ax, name in zip(grid.axs.flat, grid.name_dicts.flat, strict=True):
        assert len(curves_in(ax)) == real.sizes["alpha"]
        for alpha in real.alpha.values:
            line = curves_in(ax)[dose(alpha)]
            assert_array_equal(line.get_xdata(), [0, *real.fork.values])
            assert_array_equal(line.get_ydata(), [1, *expected.sel({**name, "alpha": alpha})])
            assert line.get_drawstyle() == "steps-post"


def test_bands_are_the_intervals(real: xr.Dataset) -> None:
    interval = survival_curves.survival(real, threshold=0.95).survival_ci
    ax = survival(real, threshold=0.95).axs[0, 0]
    for band, alpha in zip(ax.collections, real.alpha.values, strict=True):
        drawn = np.unique(band.get_paths()[0].vertices[:, 1])
        assert_array_equal(drawn, np.unique([1, *interval.sel(alpha=alpha).values.flat]))


@pytest.mark.parametrize("threshold", [0.75, 0.999])
def test_the_last_interval_of_a_curve_is_drawn_beside_its_end(
    real: xr.Dataset, threshold: float
) -> None:
    last = survival_curves.survival(real, threshold=threshold).squeeze().isel(fork=-1)
    ax = survival(real, threshold=threshold).axs[0, 0]
    drawn = {line.get_color(): line for line in ax.lines if line.get_marker() == "_"}
    expected = {
        dose_colours([alpha])[alpha]: tuple(last.survival_ci.sel(alpha=alpha).values)
        for alpha in real.alpha.values
    }
    certain = {(0.0, 0.0), (1.0, 1.0)}
    assert {colour: tuple(line.get_ydata()) for colour, line in drawn.items()} == {
        colour: interval for colour, interval in expected.items() if interval not in certain
    }
    places = [line.get_window_extent().x0 for line in drawn.values()]
    assert len(set(places)) == len(places) > 0
    assert min(places) > ax.transData.transform((512, 0))[0] - 2


def test_a_curve_that_ends_early_has_its_last_interval_there() -> None:
    ds = small_sweep([[[[1, 0, NAN], [1, 1, NAN]]]], fork=[0, 2, 8], gen_len=[[[3, 3]]])
    interval = survival_curves.survival(ds).survival_ci.squeeze().isel(fork=1)
    (whisker,) = (line for line in survival(ds).axs[0, 0].lines if line.get_marker() == "_")
    assert_array_equal(whisker.get_data(), [[2, 2], interval])


def test_the_token_axis_says_that_it_is_logarithmic(real: xr.Dataset) -> None:
    assert survival(real).axs[0, 0].get_xlabel() == "token (log scale)"


def test_numbers_at_risk_equal_the_estimate(real: xr.Dataset) -> None:
    at_risk = survival_curves.survival(real, threshold=0.95).at_risk.squeeze()
    ax = survival(real, threshold=0.95).axs[0, 0]
    assert set(ax.get_xticks()) <= set(real.fork.values)
    assert {0, 512} <= set(ax.get_xticks())
    assert numbers_below(ax) == {
        (tick, dose(alpha)): str(at_risk.sel(fork=tick, alpha=alpha).item())
        for tick in ax.get_xticks()
        for alpha in real.alpha.values
    }


@pytest.mark.parametrize("alphas", [[1.0, 2.0], [4, 1, 1]])
def test_doses_ascend_and_their_colours_do_not_depend_on_the_others(
    sample_ds: xr.Dataset, alphas: list[float]
) -> None:
    ax = survival(sample_ds, alphas=alphas).axs[0, 0]
    drawn = [(label, line.get_color()) for label, line in curves_in(ax).items()]
    expected = dose_colours(sorted(set(alphas)))
    assert drawn == [(dose(alpha), colour) for alpha, colour in expected.items()]
    rows = [text.get_text() for text in ax.texts if text.xyann[0] < 0]
    assert rows == ["at risk", *(dose(alpha) for alpha in expected)]


def test_there_is_a_panel_for_each_threshold_or_group(sample_ds: xr.Dataset) -> None:
    assert survival(sample_ds, threshold=[0.5, 0.75, 0.9]).axs.shape == (1, 3)
    assert survival(sample_ds, threshold=[0.3, 0.5, 0.75, 0.9]).axs.shape == (2, 2)
    by_method = survival(sample_ds, by="method")
    assert [ax.get_title() for ax in by_method.axs.flat] == [
        "directional_ablation",
        "mean_diff",
        "pca",
    ]
    assert survival(sample_ds, by="method", threshold=[0.5, 0.9]).axs.shape == (3, 2)
    assert survival(sample_ds, by=["method", "model_short"]).axs.shape == (2, 3)


def test_panels_that_differ_in_three_dimensions_are_refused(sample_ds: xr.Dataset) -> None:
    expected = "threshold, method, model_short; give one threshold, or fewer labels in by"
    with pytest.raises(UsageError, match=expected):
        survival(sample_ds, by=["method", "model_short"], threshold=[0.5, 0.9])


def test_a_group_that_does_not_occur_has_no_panel(sample_ds: xr.Dataset) -> None:
    some = sample_ds.query(cell="method != 'pca' or model_short == 'simulated-1B'")
    grid = survival(some, by=["method", "model_short"])
    shown = [ax.get_visible() for ax in grid.axs.flat]
    assert list(grid.name_dicts.flat[np.logical_not(shown)]) == [
        {"model_short": "simulated-8B", "method": "pca"}
    ]


def test_a_dose_that_a_group_was_not_run_at_has_a_dash_and_no_curve() -> None:
    pmass = [[[[1, 1]], [[1, 0]]], [[[1, 1]], [[NAN, NAN]]]]
    ds = small_sweep(pmass, fork=[0, 4], method=["a", "b"])
    of_b = survival(ds, by="method").axs[0, 1]
    assert list(curves_in(of_b)) == [dose(0)]
    written = [text.get_text() for text in of_b.texts if text.xyann[0] == 0 and text.xyann[1] < 0]
    assert written == ["1", "1", *"\N{EN DASH}\N{EN DASH}"]


def test_a_curve_ends_with_its_last_trajectory_at_risk() -> None:
    # Both were last seen at fork 2, alive.
    ds = small_sweep([[[[1, 1, NAN], [1, 1, NAN]]]], fork=[0, 2, 8], gen_len=[[[3, 3]]])
    ax = survival(ds).axs[0, 0]
    (line,) = curves_in(ax).values()
    assert_array_equal(line.get_xydata(), [[0, 1], [0, 1], [2, 1]])
    (end,) = (each for each in ax.lines if each.get_marker() == "o")
    assert_array_equal(end.get_xydata(), [[2, 1]])


def test_the_note_mentions_curves_that_end_early(sample_ds: xr.Dataset) -> None:
    ended = small_sweep([[[[1, 1, NAN]]]], fork=[0, 2, 8], gen_len=[[[3]]])
    for ds, said in ((ended, True), (sample_ds, False)):
        (below,) = survival(ds).fig.legends
        assert ("Circles: ends of curves" in " ".join(below.get_title().get_text().split())) is said


def test_curves_of_a_hue_share_a_panel_for_each_dose(sample_ds: xr.Dataset) -> None:
    expected = survival_curves.survival(sample_ds, by="method").squeeze("threshold")
    grid = survival(sample_ds, hue="method", alphas=[1, 2, 4])
    assert [name["alpha"] for name in grid.name_dicts.flat] == [1, 2, 4]
    assert [ax.get_title() for ax in grid.axs.flat] == [dose(alpha) for alpha in (1, 2, 4)]
    styles = method_styles(expected["method"].values)
    for ax, alpha in zip(grid.axs.flat, (1, 2, 4), strict=True):
        assert list(curves_in(ax)) == list(styles)
        for method, line in curves_in(ax).items():
            curve = expected.survival.sel({"method": method}).sel(alpha=alpha)
            assert_array_equal(line.get_ydata(), [1, *curve])
            assert (line.get_color(), line.get_marker()) == styles[method]
        at_risk = expected.at_risk.sel(alpha=alpha)
        assert numbers_below(ax) == {
            (tick, method): str(at_risk.sel({"method": method}).sel(fork=tick).item())
            for tick in ax.get_xticks()
            for method in styles
        }
    (legend,) = grid.fig.legends
    assert [text.get_text() for text in legend.get_texts()] == list(styles)


def test_the_title_names_a_single_dose(sample_ds: xr.Dataset) -> None:
    heading = survival(sample_ds, hue="method", alphas=2).fig.get_suptitle()
    assert heading.startswith(f"Survival at {dose(2)}: dead once pmass_eval < 0.75")


def test_a_hue_that_is_also_in_by_is_refused(sample_ds: xr.Dataset) -> None:
    with pytest.raises(UsageError, match="hue=method is also in by; give it once"):
        survival(sample_ds, by=["method"], hue="method")
    expected = "threshold, model_short, alpha; give one threshold, or fewer labels in by, or one"
    with pytest.raises(UsageError, match=expected):
        survival(sample_ds, by="model_short", hue="method", threshold=[0.5, 0.9])


@pytest.mark.parametrize("width", [3.3, 5.5, 7])
@pytest.mark.parametrize("option", ["by", "hue"])
def test_six_groups_of_six_doses_fit_a_page_and_are_legible(
    tmp_path: Path, width: float, option: str
) -> None:
    names = ["directional_ablation", "mean_diff", "pca", "pca_centred", "probe", "vector"]
    specs = cells_of(["org/m"], names, [0], [256], prompts=3, questions=0)
    simulate(tmp_path, specs)
    grid = survival(isoklx.open_sweep(tmp_path), width=width, **{option: "method"})
    assert grid.fig.get_figheight() <= 9
    assert_legible(grid.fig)


def test_a_curve_at_0_stays_at_0_to_the_end() -> None:
    ds = small_sweep([[[[1, 0, 0], [0, 0, 0]]]], fork=[0, 2, 8])
    (line,) = curves_in(survival(ds).axs[0, 0]).values()
    assert_array_equal(line.get_ydata(), [1, 0.5, 0, 0])


def test_a_tick_marks_each_fork_at_which_a_rollout_was_censored() -> None:
    ds = small_sweep([[[[1, 1, NAN], [1, 1, 1]]]], fork=[0, 2, 8], gen_len=[[[3, 8]]])
    marks = [line for line in survival(ds).axs[0, 0].lines if line.get_marker() == "|"]
    assert [(list(m.get_xdata()), list(m.get_ydata())) for m in marks] == [([2], [1])]


def test_every_coinciding_curve_is_visible() -> None:
    # Six doses at S = 1 throughout.
    ds = small_sweep(np.ones((1, 6, 4, 3)), fork=[0, 2, 8])
    grid = survival(ds)
    ax = grid.axs[0, 0]
    grid.fig.canvas.draw()
    pixels = np.asarray(grid.fig.canvas.buffer_rgba())[..., :3]
    y = pixels.shape[0] - 1 - int(ax.transData.transform((1, 1))[1])
    left, right = (int(ax.transData.transform((x, 1))[0]) for x in (0, 8))
    rows = pixels[y - 1 : y + 2, left:right].astype(int)
    for colour in dose_colours(ds.alpha.values).values():
        near = np.abs(rows - np.multiply(to_rgb(colour), 255)).max(axis=-1) < 8
        assert near.any(axis=0).mean() > 0.1


def test_a_single_curve_is_not_dashed(real: xr.Dataset) -> None:
    ax = survival(real, alphas=[2.0, 4.0], threshold=0.95).axs[0, 0]
    assert not [line for line in ax.lines if line.is_dashed()]


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"alphas": [2]},
        {"threshold": [0.75, 0.95]},
        {"threshold": [0.25, 0.5, 0.75, 0.95]},
        {"by": "method"},
        {"by": ["method", "model_short"]},
        {"by": "method", "threshold": [0.5, 0.9]},
        {"metric": "pmass"},
        {"metric": "kl", "threshold": [2, 4, 8]},
        {"hue": "method"},
        {"hue": "method", "by": "model_short", "width": "column"},
        {"hue": "run_id", "alphas": [2]},
    ],
)
def test_all_text_is_legible(sample_ds: xr.Dataset, options: dict[str, Any]) -> None:
    assert_legible(survival(sample_ds, **options).fig)


@pytest.mark.parametrize("size", [3, 6, 10, 16, 60])
def test_all_text_is_legible_at_any_font_size(real: xr.Dataset, size: int) -> None:
    with mpl.rc_context({"font.size": size}):
        assert_legible(survival(real, threshold=[0.75, 0.95]).fig)
        assert_legible(survival(real).fig)


def test_eight_doses_long_names_and_a_long_window_are_legible(tmp_path: Path) -> None:
    name = "a_method_$x^2$_with_quite_a_long_name_that_goes_on"
    alphas = (0.0, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
    specs = cells_of(["org/m"], ["pca", name], [0], [4096], prompts=2, questions=0, alphas=alphas)
    simulate(tmp_path, specs)
    ds = isoklx.open_sweep(tmp_path)
    assert_legible(survival(ds, by="method").fig)
    assert_legible(survival(ds, metric="kl", threshold=4).fig)


def test_the_title_defines_death_and_counts_distinct_trajectories(real: xr.Dataset) -> None:
    heading = survival(real, threshold=0.95).fig.get_suptitle()
    assert "pmass_eval < 0.95" in heading
    assert "n = 72 (24 distinct)" in heading
    assert "KL ≥ 3" in survival(real, metric="kl", threshold=3).fig.get_suptitle()


def test_the_note_says_which_trajectories_are_counted(real: xr.Dataset) -> None:
    def note(distinct: bool) -> str:
        (below,) = survival(real, distinct=distinct).fig.legends
        return " ".join(below.get_title().get_text().split())

    assert "over distinct trajectories" in note(distinct=True)
    assert "over all trajectories" in note(distinct=False)


def test_nothing_to_draw_is_an_error_of_one_line(sample_ds: xr.Dataset) -> None:
    without = sample_ds.assign(has_pmass=sample_ds.has_pmass * 0)
    with pytest.raises(DatasetError, match=r"^[^\n]*pmass_eval[^\n]*$"):
        survival(without)
    after_its_end = small_sweep([[[[NAN, 1]]]], fork=[0, 2], gen_len=[[[1]]])
    with pytest.raises(DatasetError, match="nothing to draw"):
        survival(after_its_end)
    with pytest.raises(UsageError, match="alpha 3 not found"):
        survival(sample_ds, alphas=[3])


def test_drawing_changes_neither_settings_nor_data(sample_ds: xr.Dataset) -> None:
    before, settings = sample_ds.copy(deep=True), copy.deepcopy(dict(mpl.rcParams))
    survival(sample_ds)
    xr.testing.assert_identical(sample_ds, before)
    assert dict(mpl.rcParams) == settings


def test_a_single_fork_can_be_drawn() -> None:
    grid = survival(small_sweep([[[[1], [0]]]], fork=[0], window=8))
    (line,) = curves_in(grid.axs[0, 0]).values()
    assert_array_equal(line.get_ydata(), [1, 0.5])
    assert_legible(grid.fig)
