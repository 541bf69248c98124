from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D

import isoklx
from isoklx.errors import DatasetError, UsageError
from isoklx.plot import palette
from isoklx.plot.alive import alive
from isoklx.plot.figure1 import figure1
from isoklx.plot.palette import dose_colours
from isoklx.plot.titles import ALPHA
from isoklx.simulation.sweep import CellSpec, simulate
from isoklx.stats.targets import crossed
from isoklx.stats.trajectories import bands, pmass_on_tokens, quantile, smooth
from tests.plot.panels import bands_of, labels, lines_of, notes, panel, segments, title_of

CLOSE = {"rtol": 1e-6, "atol": 1e-9}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    """Simulate methods with different doses, one of them without pmass."""
    root = tmp_path_factory.mktemp("small")
    simulate(
        root,
        [
            CellSpec(method="pca", window=16, prompts=3, questions=0, alphas=(1.0, 4.0)),
            CellSpec(method="mean_diff", window=16, prompts=2, alphas=(1.0,), lacks="pmass"),
        ],
    )
    return isoklx.open_sweep(root)


@pytest.mark.parametrize(
    ("name", "which", "older"),
    [
        ("bands.nc", {}, {"edges": "repeat", "distinct": False}),
        ("bands_shrink.nc", {"which": "all"}, {"distinct": False}),
        ("bands_shrink.nc", {"which": "distinct"}, {}),
    ],
)
def test_band_edges_equal_the_oracle(
    real: xr.Dataset, oracle: Path, name: str, which: dict[str, str], older: dict[str, Any]
) -> None:
    grid = figure1(real, kind="fan", **older)
    with xr.open_dataset(oracle / name) as file:
        expected = file["kl_quantile"].sel(roll=65, **which).load()
    for alpha in expected["alpha"].values:
        outer, inner = bands_of(panel(grid, alpha))
        for (x, lower, upper), (low, high) in ((outer, (0.1, 0.9)), (inner, (0.25, 0.75))):
            np.testing.assert_array_equal(x, np.arange(512))
            np.testing.assert_allclose(lower, expected.sel(alpha=alpha, quantile=low), **CLOSE)
            np.testing.assert_allclose(upper, expected.sel(alpha=alpha, quantile=high), **CLOSE)
        median = panel(grid, alpha).lines[0].get_ydata()
        np.testing.assert_allclose(median, expected.sel(alpha=alpha, quantile=0.5), **CLOSE)


def test_the_lower_row_shows_pmass_at_the_prompts_of_kl_and_says_so(
    real: xr.Dataset, sample_ds: xr.Dataset
) -> None:
    grid = figure1(real)
    assert grid.axs[1, 0].get_ylabel() == "probability of\na valid answer"
    for found in (grid, figure1(real, kind="spaghetti"), figure1(sample_ds)):
        assert "answers at the 8 prompts" in labels(found)
    ax = panel(grid, 2.0, "pmass")
    expected = quantile(real["pmass_eval"].sel(alpha=2.0), 0.5)
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), real["fork"])
    np.testing.assert_allclose(ax.lines[0].get_ydata(), expected)


def test_pmass_at_questions_is_the_fallback_and_is_named(sample_ds: xr.Dataset) -> None:
    grid = figure1(sample_ds.assign(pmass_eval=sample_ds["pmass_eval"] * np.nan))
    assert "answers at 4 yes/no questions" in labels(grid)
    own = isoklx.distinct(sample_ds)["pmass"]
    expected = quantile(own.sel(alpha=4.0), 0.9, ["cell", "question"])
    ((_, _, upper),) = bands_of(panel(grid, 4.0, "pmass"))
    np.testing.assert_allclose(upper, expected)


def test_a_sweep_without_pmass_has_no_lower_row(sample_ds: xr.Dataset, small: xr.Dataset) -> None:
    assert figure1(sample_ds, kl_only=True).axs.shape == (1, 6)
    assert figure1(small.query(cell="method == 'mean_diff'")).axs.shape == (1, 1)


def test_columns_are_doses_in_their_own_colours(sample_ds: xr.Dataset) -> None:
    grid = figure1(sample_ds, alphas=[2, 0.5])
    assert [ax.get_title() for ax in grid.axs[0]] == [f"{ALPHA} = 2", f"{ALPHA} = 0.5"]
    colours = [panel(grid, alpha).lines[0].get_color() for alpha in (0.5, 2.0)]
    assert colours == list(dose_colours([0.5, 2.0]).values())


def test_spaghetti_has_a_line_for_each_trajectory_and_their_median(real: xr.Dataset) -> None:
    grid = figure1(real, kind="spaghetti")
    over = crossed(isoklx.distinct(real))
    middle = bands(real, 0.5)
    for alpha in (0.5, 2.0):
        ax = panel(grid, alpha)
        assert len(lines_of(ax).get_segments()) == 24
        assert len(segments(ax, palette.CROSSED)) == over.sel(alpha=alpha).sum()
        assert f"{over.sel(alpha=alpha).mean().item():.0%} crossed" in notes(ax)
        np.testing.assert_allclose(ax.lines[0].get_ydata(), middle.sel(alpha=alpha))


def test_the_share_of_tokens_above_the_target_is_noted(real: xr.Dataset, oracle: Path) -> None:
    doses = pd.read_csv(oracle / "doses.csv").query("method == 'all'").set_index("alpha")
    grid = figure1(real, kind="spaghetti")
    for alpha, digits in ((0.5, 1), (1.0, 1), (2.0, 0)):
        share = doses.loc[alpha, "share_above"].iloc[0]
        assert f"{share:.{digits}%} of tokens above" in notes(panel(grid, alpha))


def test_the_pmass_to_draw_can_be_chosen(sample_ds: xr.Dataset, real: xr.Dataset) -> None:
    grid = figure1(sample_ds, pmass="pmass", alphas=[2])
    assert "answers at 4 yes/no questions" in labels(grid)
    own = isoklx.distinct(sample_ds)["pmass"].sel(alpha=2.0)
    expected = quantile(own, 0.5, ["cell", "question"])
    np.testing.assert_allclose(panel(grid, 2.0, "pmass").lines[0].get_ydata(), expected)
    with pytest.raises(DatasetError, match="cannot draw pmass: no cell of this sweep has it"):
        figure1(real, pmass="pmass")
    with pytest.raises(UsageError, match="pmass=pmass has no effect with kl_only"):
        figure1(real, pmass="pmass", kl_only=True)


@pytest.mark.parametrize("kind", ["band", "spaghetti"])
def test_both_rows_share_the_token_axis(real: xr.Dataset, kind: Any) -> None:
    grid = figure1(real, kind=kind)
    grid.fig.draw_without_rendering()
    for alpha in (0.5, 2.0):
        upper, lower = panel(grid, alpha), panel(grid, alpha, "pmass")
        for token in (0, 64, 512):
            above, below = (ax.transData.transform((token, 1))[0] for ax in (upper, lower))
            assert above == pytest.approx(below, abs=0.1)
        assert [lower.get_xlabel(), upper.get_xlabel()].count("token") <= 1
    assert {ax.get_xscale() for ax in grid.axs.flat} == {"linear"}


def test_every_panel_counts_its_trajectories_and_the_distinct_ones(
    sample_ds: xr.Dataset, real: xr.Dataset
) -> None:
    kl = sample_ds["kl"].copy(data=sample_ds["kl"].values.copy())
    kl[:3, 3] = np.nan
    fewer = sample_ds.assign(kl=kl, gen_len=sample_ds["gen_len"].where(kl.notnull().any("token")))
    grid = figure1(fewer, pmass="pmass")
    assert notes(panel(grid, 1.0)).startswith("n = 72 (")
    assert notes(panel(grid, 2.0)).startswith("n = 96 (80 distinct)")
    assert notes(panel(grid, 2.0, "pmass")) == "n = 48 (40 distinct)"
    assert "n = 72\N{EN DASH}96" in title_of(grid)
    one = figure1(real, by="method", alphas=[2])
    assert notes(panel(one, 2.0, "kl of pca")) == "n = 24 (8 distinct)"


def test_each_line_of_the_spaghetti_is_a_smoothed_trajectory(sample_ds: xr.Dataset) -> None:
    one = sample_ds.isel(cell=[3])
    ax = panel(figure1(one, kind="spaghetti", alphas=[2], roll=9), 2.0)
    drawn = sorted(points[:, 1].tolist() for points in lines_of(ax).get_segments())
    smoothed = smooth(one["kl"].sel(alpha=2), 9).values.reshape(-1, 64)
    expected = sorted(row[np.isfinite(row)].tolist() for row in smoothed)
    assert drawn == expected


def test_a_dead_trajectory_is_coloured_by_its_pmass_and_drawn_last(
    real: xr.Dataset,
) -> None:
    run_id = "Qwen3.5-0.8B_directional_ablation_s0_w512"
    one = real.sel(run_id=[run_id])
    ax = panel(figure1(one, kind="spaghetti", color_by_pmass=True, alphas=[2]), 2.0)
    lines = lines_of(ax)
    shade = lines.get_array()
    assert (np.diff(shade) <= 0).all()

    pmass = pmass_on_tokens(one).sel(alpha=2).squeeze("cell", drop=True)
    height = smooth(one["kl"], 65).sel(alpha=2).squeeze("cell", drop=True)
    lowest = int(np.argmin(pmass.isel(token=-1).values))
    place = [511, float(height[lowest, 511])]
    found = [i for i, points in enumerate(lines.get_segments()) if place in points.tolist()]
    assert abs(shade[found[0]] - float(pmass[lowest, 511])) < 1 / 24


def test_a_trajectory_without_pmass_is_grey(small: xr.Dataset) -> None:
    grid = figure1(small, kind="spaghetti", color_by_pmass=True)
    ax = panel(grid, 1.0)
    assert np.ma.count_masked(np.ma.masked_invalid(lines_of(ax).get_array())) == 2
    assert "pmass unknown" in labels(grid)


def test_there_is_one_colour_bar_and_it_covers_no_panel(sample_ds: xr.Dataset) -> None:
    grid = figure1(sample_ds, kind="spaghetti", color_by_pmass=True, by="seed")
    grid.fig.draw_without_rendering()
    bar = grid.cbar.ax.get_position()
    assert len(grid.fig.axes) == grid.axs.size + 1
    assert not any(bar.overlaps(ax.get_position()) for ax in grid.axs.flat)


def test_rows_are_groups_and_a_panel_that_was_not_run_says_so(small: xr.Dataset) -> None:
    grid = figure1(small, by="method")
    rows = [names[0]["row"] for names in grid.name_dicts]
    assert rows == ["kl of mean_diff", "pmass of mean_diff", "kl of pca", "pmass of pca"]
    assert "mean_diff" in grid.axs[0, 0].get_ylabel()
    assert notes(panel(grid, 4.0, "kl of mean_diff")) == "not run"
    assert notes(panel(grid, 1.0, "pmass of mean_diff")) == "no pmass"
    pca = bands(small.query(cell="method == 'pca'"), 0.5).sel(alpha=4.0)
    np.testing.assert_allclose(panel(grid, 4.0, "kl of pca").lines[0].get_ydata(), pca)


def test_methods_share_panels_in_different_colours(real: xr.Dataset) -> None:
    grid = figure1(real, hue="method", alphas=[1, 2])
    for method, (colour, marker) in palette.METHODS.items():
        one = real.isel(cell=np.flatnonzero(real["method"].values == method))
        expected = bands(one, [0.1, 0.5, 0.9])
        for alpha in (1.0, 2.0):
            ax = panel(grid, alpha)
            (median,) = (line for line in ax.lines if line.get_color() == colour)
            np.testing.assert_allclose(median.get_ydata(), expected.sel(alpha=alpha, quantile=0.5))
            (answers,) = (
                line for line in panel(grid, alpha, "pmass").lines if line.get_color() == colour
            )
            assert answers.get_marker() == marker
    shades = [to_hex(shade.get_facecolor()[0]) for shade in panel(grid, 2.0).collections]
    assert shades == [colour for colour, _ in palette.METHODS.values()]
    assert [label for label in labels(grid) if label in palette.METHODS] == list(palette.METHODS)
    assert notes(panel(grid, 2.0)) == "n = 24 (8 distinct) each"


@pytest.mark.parametrize("by", [None, "model_short"])
def test_more_than_three_hues_are_medians_over_one_pooled_band(
    sample_ds: xr.Dataset, by: str | None
) -> None:
    arms = sample_ds["method"].astype(str) + sample_ds["seed"].astype(str)
    ds = sample_ds.assign_coords(arm=("cell", arms.values))
    grid = figure1(ds, hue="arm", by=by, alphas=[0.5, 2])
    parts = {"kl": ds} if by is None else {f"kl of {name}": one for name, one in ds.groupby(by)}
    for row, cells in parts.items():
        ax = panel(grid, 2.0, row)
        ((_, lower, upper),) = bands_of(ax)
        expected = bands(isoklx.distinct(cells), [0.1, 0.9]).sel(alpha=2.0)
        np.testing.assert_allclose(lower, expected.sel(quantile=0.1), **CLOSE)
        np.testing.assert_allclose(upper, expected.sel(quantile=0.9), **CLOSE)
        medians = [one for one in ax.lines if len(one.get_xdata()) == 64]
        assert len(medians) == 6
    assert "p10 to p90 of all groups" in labels(grid)
    assert "p10 to p90" in labels(figure1(ds, hue="method", alphas=[2]))


def test_many_doses_are_thinned_evenly_and_counted_in_the_legend(tmp_path: Path) -> None:
    alphas = tuple(np.round(np.linspace(0, 4, 41), 2).tolist())
    simulate(tmp_path, [CellSpec(alphas=alphas, window=8, prompts=2)])
    ds = isoklx.open_sweep(tmp_path)
    grid = figure1(ds)
    shown = [name["alpha"] for name in grid.name_dicts.flat if name and name["row"] == "kl"]
    assert {0.0, 1.0, 4.0} <= set(shown)
    assert f"{len(shown)} of 41 doses" in labels(grid)
    assert 10 <= len(shown) <= 12
    chosen = figure1(ds, alphas=alphas[:13])
    assert chosen.axs.size >= 26
    assert not [label for label in labels(chosen) if "doses" in label]


def test_a_method_with_its_median_below_the_axis_is_named(real: xr.Dataset) -> None:
    unaltered = panel(figure1(real, hue="method"), 0.0)
    assert "all medians mostly below" in notes(unaltered)
    high = real.assign(kl=real["kl"].where(real["method"] != "directional_ablation", 0.5))
    said = notes(panel(figure1(high, hue="method"), 0.0)).splitlines()
    assert said[1:] == ["medians below axis:", "mean_diff, pca \N{DOWNWARDS ARROW}"]


def test_rows_and_colours_can_differ_in_two_labels(sample_ds: xr.Dataset) -> None:
    some = sample_ds.query(cell="method != 'pca' or model_short == 'simulated-1B'")
    grid = figure1(some, by="model_short", hue="method", alphas=[1], kl_only=True)
    assert [name["row"] for name in grid.name_dicts.flat] == [
        "kl of simulated-1B",
        "kl of simulated-8B",
    ]
    medians = [
        [line for line in ax.lines if line.get_color() != palette.ink() and len(line.get_xdata())]
        for ax in grid.axs.flat
    ]
    assert [len(each) for each in medians] == [3, 2]


@pytest.mark.parametrize(
    ("above", "said"), [(1, "<0.1% of tokens above"), (64, "1.6% of tokens above")]
)
def test_a_small_share_is_not_shown_as_zero(sample_ds: xr.Dataset, above: int, said: str) -> None:
    kl = np.zeros((64, 64), dtype=np.float32)
    kl.flat[:above] = 2
    one = sample_ds.isel(cell=[0], alpha=[1], prompt=[0]).isel(prompt=[0] * 64)
    one = one.assign(kl=(one["kl"].dims, kl[np.newaxis, np.newaxis]), prompt=np.arange(64))
    one["gen_len"][:] = 64
    grid = figure1(one, kind="spaghetti", kl_only=True, distinct=False)
    assert said in notes(grid.axs[0, 0])


def test_by_default_kl_is_logarithmic_from_a_floor_in_the_legend(real: xr.Dataset) -> None:
    grid = figure1(real)
    ax = panel(grid, 4.0)
    assert ax.get_yscale() == "log"
    assert ax.get_ylim()[0] == 1e-3
    ((_, _, upper),) = bands_of(ax)
    assert ax.get_ylim()[1] > upper.max()
    assert "KL axis from 0.001" in labels(grid)
    assert "below axis" in notes(panel(grid, 0.0))
    high = figure1(real.assign(kl=real["kl"] + 0.4))
    assert "KL axis from 0.2" in labels(high)


def test_a_linear_axis_ends_at_6_nats_and_higher_values_are_noted(real: xr.Dataset) -> None:
    grid = figure1(real, linear=True)
    assert {ax.get_ylim()[1] for ax in grid.axs[0]} == {6.0}
    assert not [label for label in labels(grid) if "axis from" in label]
    ((_, _, upper),) = bands_of(panel(grid, 4.0))
    assert f"max {upper.max():.3g}" in notes(panel(grid, 4.0))
    automatic = figure1(real, kl_ymax="auto", linear=True)
    assert automatic.axs[0, 0].get_ylim()[1] > 10
    assert figure1(real, kl_ymax=2.5).axs[0, 0].get_ylim()[1] == 2.5


def test_a_median_outside_the_axis_is_noted(real: xr.Dataset) -> None:
    grid = figure1(real, kind="fan", by="method", linear=True)
    assert "median mostly above" in notes(panel(grid, 4.0, "kl of directional_ablation"))
    assert "median" not in notes(panel(grid, 2.0, "kl of directional_ablation"))
    assert "median below axis" in notes(panel(figure1(real), 0.0))


def test_lines_that_a_logarithmic_axis_cuts_off_are_counted(real: xr.Dataset) -> None:
    ax = panel(figure1(real, kind="spaghetti", alphas=[0, 4]), 0.0)
    highest = smooth(isoklx.distinct(real)["kl"], 65).sel(alpha=0).max("token")
    below = int((highest < ax.get_ylim()[0]).sum())
    assert 0 < below < 24
    assert f"{below} of 24 below axis" in notes(ax)


def test_the_share_that_crossed_is_in_the_right_corner(real: xr.Dataset) -> None:
    ax = panel(figure1(real, kind="spaghetti"), 1.0)
    ax.figure.draw_without_rendering()
    (text,) = ax.texts
    assert "crossed" in text.get_text()
    assert text.get_window_extent().x1 == pytest.approx(ax.bbox.x1, abs=1)
    assert text.get_window_extent().y0 >= ax.bbox.y1 - 1


def test_the_thin_lines_of_pmass_are_in_the_legend_in_all_their_colours(
    real: xr.Dataset, sample_ds: xr.Dataset
) -> None:
    grid = figure1(real, kind="spaghetti", alphas=[1, 2])
    assert "answers at the 8 prompts" in labels(grid)
    shown = {line.get_color() for line in grid.figlegend.findobj(Line2D)}
    assert set(dose_colours([1, 2]).values()) <= shown
    questions = figure1(sample_ds, kind="spaghetti", pmass="pmass")
    assert "answers at 4 yes/no questions" in labels(questions)
    bare = figure1(real, kind="spaghetti", kl_only=True)
    assert not [label for label in labels(bare) if "answers" in label]


def test_reference_lines_have_the_text_colour(sample_ds: xr.Dataset) -> None:
    with mpl.rc_context({"text.color": "#eeeeee", "axes.facecolor": "black"}):
        ax = panel(figure1(sample_ds, kind="spaghetti", alphas=[1], mark_t=9), 1.0)
    assert {line.get_color() for line in ax.lines} == {"#eeeeee"}


def test_each_option_has_its_effect(sample_ds: xr.Dataset) -> None:
    one = sample_ds.isel(cell=[0])
    plain = figure1(one, alphas=[1])
    assert panel(plain, 1.0).get_yscale() == "log"
    assert panel(figure1(one, alphas=[1], linear=True), 1.0).get_yscale() == "linear"

    marked = figure1(one, alphas=[1], mark_t=20)
    for row in ("kl", "pmass"):
        extra = panel(marked, 1.0, row).lines[-1]
        assert extra.get_linestyle() == ":"
        assert extra.get_xdata() == [20, 20]
    assert "token 20" in labels(marked)

    strokes = figure1(one, kind="spaghetti", alphas=[1], line_alpha=0.3, line_lw=2.0, median_lw=3.0)
    assert lines_of(panel(strokes, 1.0)).get_alpha() == 0.3
    assert lines_of(panel(strokes, 1.0)).get_linewidth() == [2.0]
    assert panel(strokes, 1.0).lines[0].get_linewidth() == 3.0
    raw = panel(figure1(one, alphas=[1], roll=1), 1.0).lines[0].get_ydata()
    np.testing.assert_allclose(raw, quantile(one["kl"].sel(alpha=1), 0.5))


def test_the_target_of_the_cells_is_drawn(tmp_path: Path) -> None:
    simulate(tmp_path, [CellSpec(window=8, target_kl=0.25, alphas=(1.0,))])
    ax = panel(figure1(isoklx.open_sweep(tmp_path)), 1.0)
    assert [0.25, 0.25] in [list(line.get_ydata()) for line in ax.lines]


def test_the_title_counts_what_is_drawn(sample_ds: xr.Dataset) -> None:
    pca = sample_ds.query(cell="method == 'pca'")
    title = title_of(figure1(pca, roll=9))
    assert "smoothed over 9 tokens" in title
    assert "n = 32 (16 distinct)" in title
    assert "smoothed over 9 tokens" in title_of(figure1(pca)), "an eighth of the window, odd"
    assert "smoothed" not in title_of(figure1(pca, roll=1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "violin"}, "kind must be one of .*spaghetti, got 'violin'"),
        ({"by": "colour"}, "by 'colour'.*seed"),
        ({"kl_ymax": -1}, "kl_ymax must .*, got -1"),
        ({"mark_t": 99}, "mark_t must be between 0 and 64, got 99"),
        ({"color_by_pmass": True}, "color_by_pmass applies to kind spaghetti only, got band"),
        ({"alphas": [3]}, "alpha 3 not found"),
        ({"window": 99}, "window 99.*64"),
        ({"roll": 0}, "roll must be .* got 0"),
        ({"line_lw": -1}, "line_lw must .*, got -1"),
    ],
)
def test_invalid_options_are_refused_in_one_line(
    sample_ds: xr.Dataset, options: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as error:
        figure1(sample_ds, **options)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)
    assert not plt.get_fignums(), "a half-drawn figure remains open"


def test_color_by_pmass_without_pmass_is_refused(small: xr.Dataset) -> None:
    with pytest.raises(DatasetError, match="pmass_eval"):
        figure1(small.query(cell="has_pmass == 0"), kind="spaghetti", color_by_pmass=True)


def test_nothing_is_saved_shown_or_changed_globally(
    sample_ds: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plt, "show", lambda: pytest.fail("shown"))
    before = dict(mpl.rcParams)
    figure1(sample_ds, alphas=[1]).fig.draw_without_rendering()
    assert dict(mpl.rcParams) == before
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("options", [{}, {"kind": "fan"}, {"kind": "spaghetti"}])
@pytest.mark.parametrize("alphas", [[1], [0, 0.25, 0.5, 1, 2, 4]])
def test_no_texts_overlap_or_are_cut_off(
    sample_ds: xr.Dataset, options: dict[str, str], alphas: list[float]
) -> None:
    grid = figure1(sample_ds, alphas=alphas, kl_ymax=3, mark_t=9, **options)  # type: ignore[arg-type]
    fig = grid.fig
    fig.draw_without_rendering()
    heading = [fig._suptitle, *(ax.title for ax in grid.axs[0])]  # type: ignore[attr-defined]
    above = [text for ax in grid.axs[0] for text in ax.texts]
    below = [ax.xaxis.label for ax in grid.axs[-1] if ax.get_xlabel()]
    boxes = [text.get_window_extent() for text in (*heading, *above, *below)]
    boxes.append(grid.figlegend.get_window_extent())
    for i, box in enumerate(boxes):
        assert fig.bbox.x0 <= box.x0
        assert box.x1 <= fig.bbox.x1
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_drawing_a_lazy_sweep_gives_the_same_figure(sample_ds: xr.Dataset) -> None:
    lazy = figure1(sample_ds.chunk(cell=1), kind="spaghetti", alphas=[2])
    eager = figure1(sample_ds, kind="spaghetti", alphas=[2])
    for one, other in zip(
        lines_of(panel(lazy, 2.0)).get_segments(),
        lines_of(panel(eager, 2.0)).get_segments(),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def test_every_option_is_documented() -> None:
    doc = inspect.getdoc(figure1) or ""
    parameters = [name for name in inspect.signature(figure1).parameters if name != "ds"]
    assert all(name in doc for name in parameters)


def test_lines_that_cannot_be_matched_with_pmass_are_grey(small: xr.Dataset) -> None:
    flags = np.ones_like(small.unpaired)
    ds = small.assign(unpaired=(("cell", "alpha"), flags))
    grid = figure1(ds, kind="spaghetti", color_by_pmass=True)
    shade = np.ma.masked_invalid(lines_of(panel(grid, 1.0)).get_array())
    assert shade.mask.all()
    assert "pmass unknown" in labels(grid)


@pytest.mark.parametrize("draw", [figure1, alive])
def test_too_many_rows_are_refused_in_one_line(sample_ds: xr.Dataset, draw: Any) -> None:
    many = sample_ds.isel(cell=[0] * 49, alpha=[4])
    many = many.assign_coords(run_id=("cell", [f"run {i}" for i in range(49)]))
    with pytest.raises(
        DatasetError, match=r"^at most 48 rows of panels can be drawn, got \d+ by run_id"
    ) as error:
        draw(many, by="run_id", distinct=False)
    assert "\n" not in str(error.value)
    assert not plt.get_fignums()
