from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import isoklx
from isoklx.errors import DatasetError, UsageError
from isoklx.plot.scope import doses_drawn, few_doses, in_scope, split
from isoklx.simulation.sweep import CellSpec, simulate


@pytest.fixture
def mixed(tmp_path: Path) -> xr.Dataset:
    """Return a sweep of two windows with different doses, and a calibrated cell of a third."""
    cells = [
        CellSpec(method="pca", window=8, prompts=2, alphas=(0.5, 1.0)),
        CellSpec(method="pca", window=16, prompts=3, alphas=(1.0, 2.0)),
        CellSpec(method="pca", window=32, lacks="sweep"),
    ]
    simulate(tmp_path, cells)
    return isoklx.open_sweep(tmp_path)


def test_several_windows_require_a_choice(mixed: xr.Dataset) -> None:
    with pytest.raises(UsageError, match=r"set window to one of 8, 16$"):
        in_scope(mixed)
    with pytest.raises(UsageError, match=r"window 32.*8, 16"):
        in_scope(mixed, window=32)


def test_only_doses_and_tokens_of_the_window_are_kept(mixed: xr.Dataset) -> None:
    ds = in_scope(mixed, window=8)
    assert ds["window"].values.tolist() == [8]
    assert ds["alpha"].values.tolist() == [0.5, 1.0]
    assert ds["token"].values.max() == 7
    assert ds["fork"].values.max() == 8


def test_doses_keep_the_requested_order_without_duplicates(mixed: xr.Dataset) -> None:
    ds = in_scope(mixed, window=16, alphas=[2, 1, 2.0])
    assert ds["alpha"].values.tolist() == [2.0, 1.0]
    with pytest.raises(UsageError, match=r"alpha 3 not found"):
        in_scope(mixed, window=16, alphas=[3])


def test_cells_without_kl_have_nothing_to_draw(mixed: xr.Dataset) -> None:
    with pytest.raises(DatasetError, match="nothing to draw"):
        in_scope(mixed.isel(cell=mixed["window"].values == 32))


def test_a_sweep_with_dimensions_of_size_0_has_nothing_to_draw(tmp_path: Path) -> None:
    simulate(tmp_path, [CellSpec(window=8, lacks="sweep")])
    ds = isoklx.open_sweep(tmp_path)
    assert ds.sizes["token"] == 0
    with pytest.raises(DatasetError, match="nothing to draw"):
        in_scope(ds)


def test_a_dataset_other_than_a_sweep_is_refused() -> None:
    with pytest.raises(DatasetError, match="not an isoklx sweep"):
        in_scope(xr.Dataset())


def test_a_selected_cell_and_dose_can_be_drawn(mixed: xr.Dataset) -> None:
    one = mixed.sel(run_id="simulated-1B_pca_s0_w16").sel(alpha=2.0)
    assert dict(in_scope(one).sizes)["alpha"] == 1


def test_each_cell_is_in_one_group(sample_ds: xr.Dataset) -> None:
    rows = split(sample_ds, ["seed"])
    assert [labels for labels, _ in rows] == [{"seed": 0}, {"seed": 1}]
    assert sum(cells.sizes["cell"] for _, cells in rows) == sample_ds.sizes["cell"]
    ((labels, whole),) = split(sample_ds, [])
    assert labels == {}
    assert whole.sizes["cell"] == 12
    with pytest.raises(UsageError, match=r"by 'lajer'.*method"):
        split(sample_ds, ["lajer"])


def test_a_single_dose_may_be_a_number(sample_ds: xr.Dataset) -> None:
    assert in_scope(sample_ds, alphas=2).alpha.values.tolist() == [2]
    assert isoklx.plot.figure1(sample_ds, alphas=2).axs.shape[1] == 1
    assert isoklx.plot.alive(sample_ds, alphas=2).axs.shape[1] == 1
    (line,) = isoklx.plot.survival(sample_ds, alphas=2).axs.flat[0].texts[:1]
    assert line.get_text().endswith("= 2")


@pytest.mark.parametrize("by", ["layer", "family", "strength"])
def test_rows_and_groups_differ_in_any_label_of_a_cell(sample_ds: xr.Dataset, by: str) -> None:
    ds = sample_ds.assign_coords(
        layer=("cell", [3, 7] * 6),
        family=("cell", ["old", "new"] * 6),
        strength=("cell", [0.5] * 12),
    )
    expected = {
        "layer": ["layer 3", "layer 7"],
        "family": ["new", "old"],
        "strength": ["strength 0.5"],
    }
    labels = sorted(set(ds[by].values.tolist()))
    assert isoklx.survival(ds, by=by)[by].values.tolist() == labels
    assert set(isoklx.survival_summary(ds, by=by)[by]) == set(labels)
    if len(labels) == 2:
        contrast = isoklx.survival_contrast(ds, by=by)
        assert set(contrast["first"]) == {labels[0]}
        assert isoklx.plot.survival(ds, by=by, alphas=1).axs.size == 2
    rows = isoklx.plot.figure1(ds, by=by, alphas=1, kl_only=True).axs[:, 0]
    assert [ax.get_ylabel().split("\n")[0] for ax in rows] == expected[by]


def test_few_doses_keeps_the_extremes_0_and_1_and_spreads_the_rest() -> None:
    alphas = np.round(np.arange(-10, 190) / 25, 2)
    ds = few_doses(xr.Dataset(coords={"alpha": alphas}))
    kept = ds["alpha"].values
    assert kept.size <= 12
    assert {alphas[0], 0, 1, alphas[-1]} <= set(kept)
    assert np.diff(kept).max() < 3 * np.ptp(alphas) / 12
    assert doses_drawn(ds) == f"{kept.size} of 200 doses"


def test_twelve_doses_are_all_drawn() -> None:
    ds = xr.Dataset(coords={"alpha": np.arange(12.0)})
    assert few_doses(ds).identical(ds)
    assert doses_drawn(ds) == ""
