from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from dask.local import get_sync

import isoklx
from isoklx.tables.calibration import calibration_table
from tests.handmade import NAN, kl, make_cell


def step(coeff: float, p95: float) -> dict[str, float]:
    return {"coeff": coeff, "kl_mean": p95 / 2, "kl_p95": p95, "kl_max": p95 * 2}


def one_cell(root: Path, **files: Any) -> pd.Series[Any]:
    """Row of a single cell in the calibration table."""
    make_cell(root, **files)
    table = calibration_table(isoklx.open_sweep(root))
    assert len(table) == 1
    return table.loc[0]


def test_the_calibration_table_agrees_with_the_json(real: xr.Dataset, real_root: Path) -> None:
    table = calibration_table(real).set_index("run_id")
    assert len(table) == 9
    for run_id, row in table.iterrows():
        folder = real_root / str(run_id)
        calib, history, trajectory, pmass = (
            json.loads((folder / f"{name}.json").read_text())
            for name in ("calib", "history", "trajectory", "pmass")
        )
        recorded = list(csv.DictReader((folder / "results.csv").read_text().splitlines()))
        values = {
            float(alpha): np.array([x for row in rows for x in row if x is not None], dtype=float)
            for alpha, rows in trajectory["per_prompt_per_t_kl"].items()
        }
        p95 = {float(line["alpha"]): float(line["kl_p95"]) for line in recorded}
        mismatch = [
            abs(p95[alpha] / np.nanpercentile(nats, 95) - 1)
            for alpha, nats in values.items()
            if alpha
        ]
        assert row["c_star"] == calib["c_star"]
        assert row["calib_kl_p95"] == history[-1]["kl_p95"]
        assert row["heldout_kl_p95"] == p95[1]
        assert row["kl_max_alpha0"] == pytest.approx(np.nanmax(values[0]), rel=1e-6)
        eval_at_0 = np.array(pmass["pmass_eval"]["0.0"], dtype=float)
        assert row["pmass_eval_alpha0"] == pytest.approx(np.nanmean(eval_at_0), rel=1e-6)
        assert np.isnan(row["pmass_alpha0"])
        assert row["kl_p95_mismatch"] == pytest.approx(max(mismatch), abs=1e-7)
        assert [row["converged"], row["pinned"]] == [True, False]
        lower, upper = row["heldout_lower"], row["heldout_upper"]
        assert lower < p95[1] < upper
        inside = lower >= 0.7 and upper <= 1.4
        assert row["heldout_in_range"] == ("yes" if inside else "unclear")
    assert table["heldout_in_range"].value_counts().to_dict() == {"unclear": 6, "yes": 3}


@pytest.mark.parametrize(
    ("c_star", "history", "converged", "pinned"),
    [
        (2.0, [step(1, 0.5), step(4, 3), step(2, 1.04)], True, False),
        (2.0, [step(1, 0.5), step(4, 3), step(2, 1.05)], True, False),
        (2.0, [step(1, 0.5), step(4, 3), step(2, 1.06)], False, False),
        (4.0, [step(1, 0.2), step(2, 0.3), step(4, 0.4)], False, True),
        (1.0, [step(4, 9), step(2, 8), step(1, 7)], False, True),
        (4.0, [step(1, 0.2), step(2, 0.3), step(4, 0.96)], True, False),
        (-4.0, [step(-1, 0.2), step(-2, 0.3), step(-4, 0.4)], False, True),
        (2.0, [step(-1, 0.2), step(-4, 3), step(2, 0.4)], False, False),
        (8.0, [step(1, 0.2), step(4, 0.3)], False, True),
        (1.0, [step(1, 0.2)], False, True),
        (1.0, [step(1, 1.0)], True, False),
    ],
)
def test_converged_and_pinned(
    tmp_path: Path, c_star: float, history: list[Any], converged: bool, pinned: bool
) -> None:
    row = one_cell(tmp_path, calib={"c_star": c_star}, history=history)
    assert (row["converged"], row["pinned"]) == (converged, pinned)
    assert row["calib_kl_p95"] == history[-1]["kl_p95"]


def test_last_step_of_a_short_history_beside_a_long_one(tmp_path: Path) -> None:
    make_cell(tmp_path, "long", history=[step(1, 0.5), step(2, 2), step(1.5, 1.0)])
    make_cell(tmp_path, "short", history=[step(1.5, 0.5)])
    table = calibration_table(isoklx.open_sweep(tmp_path))
    assert table["calib_kl_p95"].tolist() == [1.0, 0.5]
    assert table["pinned"].tolist() == [False, True]


@pytest.mark.parametrize(
    ("nats", "in_range"),
    [
        ([[2.0] * 20] * 8, "yes"),
        ([[1.4] * 20] * 8, "yes"),
        ([[1.39] * 20] * 8, "no"),
        ([[2.81] * 20] * 8, "no"),
        ([[1.0] * 20] * 7 + [[2.0] * 20], "unclear"),
        ([[2.0] * 20], "unclear"),
    ],
)
def test_heldout_p95_is_compared_with_the_target_of_its_cell(
    tmp_path: Path, nats: list[list[float]], in_range: str
) -> None:
    calib = {"target_kl": 2.0, "window": 20}
    row = one_cell(tmp_path, calib=calib, trajectory=kl({"1": nats}))
    assert row["heldout_in_range"] == in_range


def test_heldout_range_is_unclear_without_kl(tmp_path: Path) -> None:
    row = one_cell(tmp_path, results="alpha,kl_p95\n1.0,1.0\n")
    assert row["heldout_kl_p95"] == 1.0
    assert row["heldout_in_range"] == "unclear"


def test_missing_data_is_na_rather_than_false(tmp_path: Path) -> None:
    row = one_cell(tmp_path)
    known = ["run_id", "model_short", "method", "seed", "window", "c_star", "target_kl", "repeats"]
    unknown = row.drop(known)
    assert len(unknown) == 14
    assert unknown.isna().all()


def test_missing_data_stays_na_beside_a_complete_cell(tmp_path: Path, sample: Path) -> None:
    make_cell(tmp_path, "a_calibrated_only")
    (tmp_path / "b_swept").symlink_to(sample / "simulated-1B_pca_s0_w64")
    table = calibration_table(isoklx.open_sweep(tmp_path))
    columns = table.columns[7:-1]
    assert table.loc[0, columns].isna().all()
    assert table.loc[1, columns].notna().all()
    assert table.dtypes[["converged", "pinned"]].eq("boolean").all()
    assert table["heldout_in_range"].iloc[0] is None


def test_mismatch_of_recorded_and_recomputed_p95(tmp_path: Path) -> None:
    row = one_cell(
        tmp_path,
        trajectory=kl({"0": [[0.0, 2e-7]], "1": [[2.0, 2.0]], "2": [[4.0, 4.0]]}),
        results="alpha,kl_p95\n0,0.0\n1,2.0\n2,3.0\n",
    )
    assert row["kl_p95_mismatch"] == pytest.approx(0.25)
    assert row["kl_max_alpha0"] == np.float32(2e-7)


def test_pmass_at_alpha_0_averages_measured_values(tmp_path: Path) -> None:
    pmass = {
        "fork_points": [0, 2],
        "pmass_eval": {"0": [[1.0, 0.5], [0.75, NAN]], "1": [[0.0, 0.0]]},
        "pmass": {"0": [[0.25, 0.75]]},
    }
    row = one_cell(tmp_path, pmass=pmass)
    assert (row["pmass_eval_alpha0"], row["pmass_alpha0"]) == (0.75, 0.5)


def test_duplicate_cells_name_the_first_one(real: xr.Dataset, oracle: Path) -> None:
    groups = json.loads((oracle / "counts.json").read_text())["identical_cells"]
    table = calibration_table(real)
    found = {first: [first] for first in table["run_id"][table["repeats"] == ""]}
    for run_id, first in zip(table["run_id"], table["repeats"], strict=True):
        if first:
            found[first].append(run_id)
    assert [group for group in found.values() if len(group) > 1] == groups


def test_dask_equals_numpy_in_few_computations(sample_ds: xr.Dataset) -> None:
    computed: list[object] = []

    def counting(graph: Any, keys: Any, **options: Any) -> Any:
        computed.append(keys)
        return get_sync(graph, keys, **options)

    sample_ds.load()
    lazy = sample_ds.assign(sample_ds[["kl", "pmass_eval", "pmass"]].chunk(cell=5, alpha=1))
    with dask.config.set(scheduler=counting):
        table = calibration_table(lazy)
    # All columns together, then pmass_eval and kl of possible duplicates.
    assert len(computed) == 3
    pd.testing.assert_frame_equal(table, calibration_table(sample_ds), check_exact=True)


def test_columns_show_files_of_two_runs(tmp_path: Path) -> None:
    files: dict[str, Any] = {
        "trajectory": kl({"0": [[0]], "1": [[1]], "2": [[2]]}),
        "history": [step(1.0, 0.5), step(1.5, 1.0)],
        "results": "alpha,coeff\n0,0\n1,1.5\n",
    }
    make_cell(tmp_path, "a_one_run", **files)
    two = make_cell(tmp_path, "b_two_runs", calib={"c_star": 2.0}, **files)
    os.utime(two / "calib.json", (2 * 10**9,) * 2)
    make_cell(tmp_path, "c_no_bisection", trajectory=files["trajectory"])
    table = calibration_table(isoklx.open_sweep(tmp_path))
    assert table["coeff_mismatch"].tolist() == [0, 0.25, 0]
    assert table["c_star_tried"].tolist() == [True, False, pd.NA]
    assert table["calib_newer"].tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("target_stat", "converged", "in_range"),
    [("p95", False, "unclear"), ("mean", True, None), ("rms", pd.NA, None)],
)
def test_converged_uses_the_target_statistic(
    tmp_path: Path, target_stat: str, converged: Any, in_range: Any
) -> None:
    row = one_cell(
        tmp_path,
        calib={"target_stat": target_stat},
        history=[step(1.5, 2.0)],
        results="alpha,kl_p95\n1,2\n",
    )
    assert [row["converged"], row["heldout_in_range"]] == [converged, in_range]
