from __future__ import annotations

import itertools
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import xarray as xr

import isoklx
from isoklx.plot.titles import literal, title
from isoklx.simulation.sweep import CellSpec, grid, simulate
from tests.handmade import kl, make_cell


def test_a_title_names_the_quantity_and_the_data(sample_ds: xr.Dataset) -> None:
    said = title(sample_ds, "KL per token", inches=20)
    assert said == (
        "KL per token\n"
        "simulated-1B, simulated-8B · directional_ablation, mean_diff, pca · seeds 0, 1 · "
        "window 64 · 8 prompts · n = 96 (80 distinct)"
    )


def test_a_title_counts_labels_too_many_to_list(tmp_path: Path) -> None:
    methods = [f"some_long_method_{i}" for i in range(4)]
    seeds = [0, 2, 4, 6, 8]
    simulate(tmp_path, grid(methods=methods, seeds=seeds, windows=[4], prompts=1))
    simulate(tmp_path, [CellSpec(method="pca", window=8, prompts=3)])
    said = title(isoklx.open_sweep(tmp_path), "KL", inches=20)
    assert "5 methods · 5 seeds · windows 4, 8 · 1-3 prompts" in said.replace("\N{EN DASH}", "-")


def test_neighbouring_seeds_are_a_range(tmp_path: Path) -> None:
    simulate(tmp_path, grid(methods=["pca"], seeds=range(7), windows=[4], prompts=1))
    assert "seeds 0\N{EN DASH}6" in title(isoklx.open_sweep(tmp_path), "KL")


def test_given_counts_are_not_changed(sample_ds: xr.Dataset) -> None:
    said = title(sample_ds, "KL", size="5 cells")
    assert "5 cells" in said
    assert "n = " not in said


@pytest.mark.parametrize("inches", [3.0, 8.0])
def test_no_line_is_wider_than_the_figure(sample_ds: xr.Dataset, inches: float) -> None:
    figure = plt.figure(figsize=(inches, 3))
    text = figure.suptitle(title(sample_ds, "KL per token", inches=inches), fontsize="medium")
    assert text.get_window_extent().width <= figure.bbox.width


def test_one_selected_cell_has_a_title(sample_ds: xr.Dataset) -> None:
    one = sample_ds.sel(run_id="simulated-1B_pca_s0_w64").sel(alpha=1.0)
    assert "simulated-1B · pca · seed 0" in title(one, "KL")


@pytest.mark.parametrize(
    "name", ["a_$x^2$_b", r"\alpha", r"c\$", "$", "{x}^{2}", "$$", r"$\bad{$", "pca"]
)
def test_a_name_is_drawn_literally(name: str) -> None:
    figure = plt.figure()
    shown = figure.text(0, 0, literal(name))
    plain = figure.text(0, 0, name, parse_math=False)
    assert shown.get_window_extent().bounds == plain.get_window_extent().bounds


def test_control_characters_and_letters_the_font_lacks_are_escaped() -> None:
    assert literal("a\x1b[31m\n") == r"a\x1b[31m\n"
    assert literal("\N{CJK UNIFIED IDEOGRAPH-6A21}é") == r"\u6a21é"


def test_a_long_name_keeps_both_ends() -> None:
    name = "".join(itertools.islice(itertools.cycle("abcdefghij"), 95)) + "Z"
    assert len(literal(name)) <= 36
    assert literal(name).startswith("abcdefgh")
    assert literal(name).endswith("Z")


def test_calibrated_cells_without_a_sweep_have_no_prompts_to_count(tmp_path):
    make_cell(tmp_path, "a")
    assert "prompt" not in title(isoklx.open_sweep(tmp_path), "Calibration")
    make_cell(tmp_path, "b", trajectory=kl({"1": [[0.5], [0.5]]}))
    assert "2 prompts" in title(isoklx.open_sweep(tmp_path), "Calibration")
