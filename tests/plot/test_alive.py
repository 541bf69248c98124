from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

import isoklx
from isoklx.errors import DatasetError, UsageError
from isoklx.plot import palette
from isoklx.plot.alive import alive
from isoklx.simulation.sweep import CellSpec, simulate
from isoklx.stats.endpoint import lifetimes
from isoklx.stats.trajectories import bands, normalise_kl, quantile, smooth
from tests.plot.panels import labels, lines_of, notes, panel, segments, title_of

DEAD_RUN = "Qwen3.5-0.8B_directional_ablation_s0_w512"


def test_a_trajectory_changes_colour_at_the_fork_of_its_death(real: xr.Dataset) -> None:
    one = real.sel(run_id=[DEAD_RUN]).isel(prompt=[0])
    lives = lifetimes(one, threshold=0.5).isel(threshold=0).sel(alpha=2)
    assert lives["died"].all()
    death = int(one["fork"][lives["end"].item()])
    assert 0 < death < 511

    ax = panel(alive(one, threshold=0.5, alphas=[2]), 2.0)
    (living,), (dead,) = segments(ax, palette.ALIVE), segments(ax, palette.DEAD)
    assert (living[0, 0], living[-1, 0]) == (0, death)
    assert (dead[0, 0], dead[-1, 0]) == (death, 511)
    height = smooth(normalise_kl(one), 65).sel(alpha=2).values.ravel()
    np.testing.assert_array_equal(np.append(living[:-1, 1], dead[:, 1]), height)


def test_state_is_unknown_after_the_last_fork_of_an_ended_rollout(
    real: xr.Dataset,
) -> None:
    once = isoklx.distinct(real)
    lives = lifetimes(once, threshold=0.75).isel(threshold=0).sel(alpha=1)
    cell, prompt = np.argwhere(lives["censored"].values)[0]
    one = real.sel(run_id=[once.run_id[cell].item()]).isel(prompt=[prompt])
    last_fork = int(one["fork"][lives["end"][cell, prompt].item()])
    length = int(one["gen_len"].sel(alpha=1).item())
    assert 0 < last_fork < length < 512

    grid = alive(one, threshold=0.75, alphas=[1])
    ax = panel(grid, 1.0)
    (living,), (unknown,) = segments(ax, palette.ALIVE), segments(ax, palette.UNKNOWN)
    assert (living[0, 0], living[-1, 0]) == (0, last_fork)
    assert (unknown[0, 0], unknown[-1, 0]) == (last_fork, length - 1)
    assert "pmass unknown" in labels(grid)


def test_panels_count_deaths_and_censored_trajectories(real: xr.Dataset) -> None:
    grid = alive(real, threshold=0.75)
    once = isoklx.distinct(real)
    lives = lifetimes(once, threshold=0.75).isel(threshold=0)
    drawn = normalise_kl(once).notnull().any("token")
    for alpha in real["alpha"].values:
        here, there = lives.sel(alpha=alpha), drawn.sel(alpha=alpha)
        died, censored = ((here[name] & there).sum().item() for name in ("died", "censored"))
        said = notes(panel(grid, alpha)).splitlines()
        assert said[:2] == [f"n = {int(there.sum())}", f"{died} died, {censored} censored"]
        left_out = [f"{24 - int(there.sum())} of 24 not normalised"] if not there.all() else []
        assert said[2:] == left_out
    assert notes(panel(grid, 0.0)).startswith("n = 8\n")
    every = alive(real, threshold=0.75, distinct=False)
    assert notes(panel(every, 2.0)).startswith("n = 72")
    assert "n = 72 (24 distinct)" in title_of(grid)


def test_every_rollout_that_ends_early_has_a_tick_at_its_end(real: xr.Dataset) -> None:
    ax = panel(alive(real), 1.0)
    (ticks,) = (line for line in ax.lines if line.get_marker() == "|")
    ends = isoklx.distinct(real)["gen_len"].sel(alpha=1.0).values.ravel()
    assert sorted(ticks.get_xdata()) == sorted(ends[ends < 512] - 1)
    tips = {tuple(points[-1]) for points in lines_of(ax).get_segments()}
    assert (
        set(zip(ticks.get_xdata(), np.ravel(ticks.get_ydata()).astype(float), strict=True)) <= tips
    )


def test_the_median_is_normalised_then_smoothed(real: xr.Dataset) -> None:
    ax = panel(alive(real, roll=9, calib_tokens=30), 4.0)
    own = normalise_kl(isoklx.distinct(real), 30)
    expected = smooth(quantile(own, 0.5), 9).sel(alpha=4.0)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), expected)


def test_without_normalisation_the_axis_is_in_nats(real: xr.Dataset) -> None:
    grid = alive(real, normalize=False)
    assert grid.axs[0, 0].get_ylabel() == "KL (nats)"
    assert alive(real).axs[0, 0].get_ylabel() == "KL / early p95"
    expected = bands(real, 0.5).sel(alpha=2.0)
    np.testing.assert_allclose(panel(grid, 2.0).lines[0].get_ydata(), expected)
    assert "p95" in title_of(alive(real))
    assert "p95" not in title_of(grid)


def test_a_dose_with_zero_kl_is_left_out_unless_requested(sample_ds: xr.Dataset) -> None:
    assert 0 not in alive(sample_ds).col_names
    requested = alive(sample_ds, alphas=[0, 1])
    assert "nothing to normalise" in notes(panel(requested, 0.0))
    assert "80 of 80 not normalised" in notes(panel(requested, 0.0))
    assert 0 in alive(sample_ds, normalize=False).col_names


def test_a_trajectory_without_pmass_is_neither_alive_nor_dead(tmp_path: Path) -> None:
    simulate(
        tmp_path,
        [
            CellSpec(method="pca", window=16, prompts=3, alphas=(1.0,)),
            CellSpec(method="mean_diff", window=16, prompts=2, alphas=(1.0,), lacks="pmass"),
        ],
    )
    grid = alive(isoklx.open_sweep(tmp_path), by="method")
    unknown = panel(grid, 1.0, "kl of mean_diff")
    assert notes(unknown) == "n = 2\nno pmass"
    assert len(segments(unknown, palette.UNKNOWN)) == 2
    assert notes(panel(grid, 1.0, "kl of pca")).startswith("n = 3")
    assert "pmass unknown" in labels(grid)


def test_the_threshold_changes_the_legend_and_the_counts(real: xr.Dataset) -> None:
    grid = alive(real, threshold=0.95, alphas=[2])
    assert "dead (pmass_eval < 0.95)" in labels(grid)
    died = int(lifetimes(isoklx.distinct(real), threshold=0.95)["died"].sel(alpha=2.0).sum())
    assert f"{died} died" in notes(panel(grid, 2.0))


def test_all_panels_share_their_limits(real: xr.Dataset) -> None:
    limits = {ax.get_ylim() for ax in alive(real, by="method").axs.flat}
    assert len(limits) == 1
    assert alive(real, linear=True, kl_ymax=3).axs[0, 0].get_ylim()[1] == 3
    assert alive(real, linear=True).axs[0, 0].get_yscale() == "linear"


def test_lines_and_medians_below_the_axis_are_noted(real: xr.Dataset) -> None:
    grid = alive(real, normalize=False)
    said = notes(panel(grid, 0.0))
    bottom = grid.axs[0, 0].get_ylim()[0]
    own = isoklx.distinct(real)["kl"]
    below = (smooth(own, 65).sel(alpha=0).max("token") < bottom).sum().item()
    assert f"{below} of 24 below axis" in said
    assert "median below axis" in said
    assert "below" not in notes(panel(grid, 2.0))


def test_medians_and_ends_have_the_text_colour(real: xr.Dataset) -> None:
    with mpl.rc_context({"text.color": "#eeeeee"}):
        ax = panel(alive(real), 1.0)
    assert {line.get_color() for line in ax.lines} == {"#eeeeee"}


def test_pmass_at_questions_does_not_replace_pmass_eval(sample_ds: xr.Dataset) -> None:
    questions_only = sample_ds.assign(pmass_eval=sample_ds["pmass_eval"].where(False))
    with pytest.raises(DatasetError, match="pmass_eval"):
        alive(questions_only)
    assert not plt.get_fignums()


def test_a_sweep_without_pmass_is_refused(tmp_path: Path) -> None:
    simulate(tmp_path, [CellSpec(window=8, lacks="pmass")])
    with pytest.raises(DatasetError, match="pmass_eval"):
        alive(isoklx.open_sweep(tmp_path))


@pytest.mark.parametrize("options", [{"threshold": 2}, {"calib_tokens": 0}, {"kl_ymax": 0}])
def test_invalid_options_are_refused(sample_ds: xr.Dataset, options: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        alive(sample_ds, **options)  # type: ignore[arg-type]


def test_trajectories_that_cannot_be_matched_with_pmass_are_unknown(sample_ds: xr.Dataset) -> None:
    flags = np.zeros_like(sample_ds.unpaired)
    flags[:, sample_ds.alpha.values == 1] = 1
    ds = sample_ds.assign(unpaired=(("cell", "alpha"), flags))
    grid = alive(ds, alphas=[1, 2])
    assert notes(panel(grid, 1.0)) == "n = 80\nno pmass"
    assert len(segments(panel(grid, 1.0), palette.UNKNOWN)) > 0
    assert notes(panel(grid, 2.0)).startswith("n = ")
    assert "pmass unknown" in labels(grid)
