from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import isoklx
from isoklx.errors import DatasetError
from isoklx.tables.calibration import calibration_table
from isoklx.tables.headline import headline_table
from tests.handmade import NAN, kl, make_cell


def test_headline_table_equals_the_oracle(real: xr.Dataset, oracle: Path) -> None:
    table = headline_table(real)
    expected = pd.read_csv(oracle / "table.csv")
    # The oracle computes a standard deviation over three copies of one run.
    assert (expected[["c_std", "c_cv"]] == 0).all(axis=None)
    assert table[["c_std", "c_cv"]].isna().all(axis=None)
    assert (table["n_distinct"] == 1).all()
    same = ["model_short", "method", "window", "c_mean", "n_seeds"]
    pd.testing.assert_frame_equal(table[same], expected[same], check_dtype=False, rtol=0, atol=0)


def test_headline_table_equals_plain_loops_over_the_json(sample: Path) -> None:
    found: dict[tuple[str, str, int], list[float]] = {}
    for path in sample.glob("*/calib.json"):
        calib = json.loads(path.read_text())
        key = (calib["model"].split("/")[-1], calib["method"], calib["window"])
        found.setdefault(key, []).append(calib["c_star"])
    table = headline_table(isoklx.open_sweep(sample))
    assert list(zip(*(table[k] for k in table.columns[:3]), strict=True)) == sorted(found)
    for row, (_, values) in zip(table.itertuples(), sorted(found.items()), strict=True):
        different = sorted(set(values))
        mean = statistics.mean(values)
        std = statistics.stdev(different) if len(different) > 1 else NAN
        expected = [mean, std, len(values), std / abs(mean), len(different)]
        got = [row.c_mean, row.c_std, row.n_seeds, row.c_cv, row.n_distinct]
        assert got == pytest.approx(expected, rel=1e-14, nan_ok=True)


def test_a_single_seed_has_no_standard_deviation(tmp_path: Path) -> None:
    make_cell(tmp_path, calib={"c_star": 2.5})
    (row,) = headline_table(isoklx.open_sweep(tmp_path)).to_dict("records")
    assert row == {
        "model_short": "tiny",
        "method": "pca",
        "window": 4,
        "c_mean": 2.5,
        "c_std": pytest.approx(NAN, nan_ok=True),
        "n_seeds": 1,
        "c_cv": pytest.approx(NAN, nan_ok=True),
        "n_distinct": 1,
    }


def test_calibrated_cells_count_and_windows_are_separate(tmp_path: Path) -> None:
    make_cell(tmp_path, "swept", trajectory=kl({"1": [[0.5]]}))
    make_cell(tmp_path, "calibrated", calib={"seed": 1, "c_star": 2.5})
    make_cell(tmp_path, "wide", calib={"window": 8})
    table = headline_table(isoklx.open_sweep(tmp_path))
    assert table["window"].tolist() == [4, 8]
    assert table["n_seeds"].tolist() == [2, 1]
    assert table["c_mean"].tolist() == [2.0, 1.5]


def test_several_cells_of_one_seed_count_once(tmp_path: Path) -> None:
    for layer, c_star in ((3, 1.0), (4, 3.0)):
        make_cell(tmp_path, f"layer{layer}", calib={"layer": layer, "c_star": c_star})
    make_cell(tmp_path, "other", calib={"seed": 1, "c_star": 4.0})
    (row,) = headline_table(isoklx.open_sweep(tmp_path)).to_dict("records")
    assert (row["c_mean"], row["n_seeds"]) == (3.0, 2)
    assert row["c_std"] == pytest.approx(statistics.stdev([2.0, 4.0]))


def test_models_with_the_same_short_name_are_separate(tmp_path: Path) -> None:
    for org in ("a", "b"):
        make_cell(tmp_path, org, calib={"model": f"{org}/tiny"})
    make_cell(tmp_path, "c", calib={"model": "c/small"})
    table = headline_table(isoklx.open_sweep(tmp_path))
    assert table["model_short"].tolist() == ["a/tiny", "b/tiny", "small"]


def test_both_sides_are_separate(tmp_path: Path) -> None:
    for seed, c_star in enumerate((-1.0, 1.0, 3.0)):
        make_cell(tmp_path, f"s{seed}", calib={"seed": seed, "c_star": c_star})
    make_cell(tmp_path, "other", calib={"method": "sae", "c_star": 2.0})
    table = headline_table(isoklx.open_sweep(tmp_path))
    rows = zip(table["method"], table["sign"], table["c_mean"], table["n_seeds"], strict=True)
    assert list(rows) == [("pca", "+", 2.0, 2), ("pca", "-", -1.0, 1), ("sae", "+", 2.0, 1)]
    assert table.columns[3] == "sign"
    alike = isoklx.open_sweep(tmp_path).query(cell="c_star < 0")
    assert "sign" not in headline_table(alike)


def test_duplicate_calibrations_have_no_standard_deviation(tmp_path: Path) -> None:
    for seed, c_star in enumerate((1.0, 1.0, 3.0)):
        make_cell(tmp_path, f"s{seed}", calib={"seed": seed, "c_star": c_star})
    # Equal coefficients after different steps are distinct calibrations.
    steps = [{"coeff": 1.0, "kl_mean": 0.5, "kl_p95": 1.01, "kl_max": 2.0}]
    make_cell(tmp_path, "s3", calib={"seed": 3, "c_star": 1.0}, history=steps)
    (row,) = headline_table(isoklx.open_sweep(tmp_path)).to_dict("records")
    assert (row["n_seeds"], row["n_distinct"], row["c_mean"]) == (4, 3, 1.5)
    assert row["c_std"] == pytest.approx(statistics.stdev([1.0, 3.0, 1.0]))


def test_c_cv_is_missing_at_mean_zero(tmp_path: Path) -> None:
    make_cell(tmp_path, "s0", calib={"c_star": 0.0})
    make_cell(tmp_path, "s1", calib={"seed": 1, "c_star": 0.0}, history=[])
    (row,) = headline_table(isoklx.open_sweep(tmp_path)).to_dict("records")
    assert row["c_mean"] == 0
    assert np.isnan(row["c_cv"])


@pytest.mark.parametrize("tabulate", [headline_table, calibration_table])
def test_other_datasets_are_refused(
    tabulate: Callable[[xr.Dataset], pd.DataFrame],
) -> None:
    with pytest.raises(DatasetError, match="not an isoklx sweep: it has no"):
        tabulate(xr.Dataset({"c_star": ("cell", [1.0])}))


@pytest.mark.parametrize("tabulate", [headline_table, calibration_table])
def test_a_single_cell_may_be_selected(
    sample_ds: xr.Dataset, tabulate: Callable[[xr.Dataset], pd.DataFrame]
) -> None:
    run_id = "simulated-8B_mean_diff_s1_w64"
    (row,) = tabulate(sample_ds.sel(run_id=run_id)).to_dict("records")
    assert row["method"] == "mean_diff"


def test_a_permuted_sweep_has_the_same_headline_table(sample_ds: xr.Dataset) -> None:
    turned = sample_ds.isel(cell=slice(None, None, -1))
    pd.testing.assert_frame_equal(headline_table(turned), headline_table(sample_ds), rtol=1e-15)
