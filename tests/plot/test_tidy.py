"""The numbers behind a figure, as one table."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from isoklx import plot
from isoklx.plot.saving import tidy, write_data
from tests.plot.panels import bands_of, panel


def test_bands_are_columns_beside_their_tokens_and_counts(sample_ds: xr.Dataset) -> None:
    grid = plot.figure1(sample_ds, kind="fan", alphas=[1, 2])
    table = tidy(grid.data)
    rows = table[(table["panel"] == "kl") & (table["alpha"] == 2)]
    outer, inner = bands_of(panel(grid, 2.0))
    np.testing.assert_array_equal(rows["token"], outer[0])
    for column, drawn in (("p10", outer[1]), ("p90", outer[2]), ("p25", inner[1])):
        np.testing.assert_array_equal(rows[column], drawn)
    assert set(rows["n"]) == {96}
    assert set(rows["n_distinct"]) == {80}
    answers = table[table["panel"] == "pmass_eval"]
    assert set(answers["token"]) == set(sample_ds["fork"].values)


def said_above(grid: Any, alpha: float, row: str) -> list[str]:
    """Return n and n_distinct from the note above a panel."""
    first, *_ = panel(grid, alpha, row).texts[0].get_text().splitlines()
    return re.findall(r"\d+", first)


@pytest.mark.parametrize("kind", ["band", "spaghetti"])
def test_counts_match_the_note_above_the_panel(sample_ds: xr.Dataset, kind: Any) -> None:
    grid = plot.figure1(sample_ds, kind=kind, alphas=[1], pmass="pmass")
    table = tidy(grid.data)
    for row, panels in (("kl", ["kl", "kl_median"]), ("pmass", ["pmass", "pmass_median"])):
        rows = table[table["panel"].isin(panels)]
        counts = rows[["n", "n_distinct"]].drop_duplicates().values.tolist()
        assert [list(map(str, each)) for each in counts] == [said_above(grid, 1.0, row)]
    assert set(said_above(grid, 1.0, "pmass")).isdisjoint(said_above(grid, 1.0, "kl"))
    assert not {"n_answers", "n_answers_distinct"} & set(table["panel"])


def test_each_hue_has_its_own_counts(sample_ds: xr.Dataset) -> None:
    table = tidy(plot.figure1(sample_ds, hue="method", alphas=[1], pmass="pmass").data)
    pca = sample_ds.isel(cell=(sample_ds["method"] == "pca").values).sel(alpha=1)
    for name, unit in (("kl", "token"), ("pmass", "fork")):
        rows = table[(table["panel"] == name) & (table["method"] == "pca")]
        assert set(rows["n"]) == {int(pca[name].notnull().any(unit).sum())}


def test_each_line_is_named_by_its_run_and_prompt(sample_ds: xr.Dataset) -> None:
    table = tidy(plot.figure1(sample_ds, kind="spaghetti", alphas=[2], roll=1).data)
    name = "simulated-8B_pca_s0_w64"
    rows = table[(table["panel"] == "kl") & (table["run_id"] == name) & (table["prompt"] == 3)]
    expected = sample_ds["kl"].sel(run_id=name, alpha=2, prompt=3).dropna("token")
    np.testing.assert_array_equal(rows["value"], expected)


def test_intervals_are_in_columns_beside_their_values(sample_ds: xr.Dataset) -> None:
    grid = plot.dose_response(sample_ds)
    table = tidy(grid.data).query("panel == 'kl_p95' and method == 'pca'")
    of_pca = grid.data.isel(method=2)
    np.testing.assert_array_equal(table["value"], of_pca["kl_p95"])
    for bound in ("lower", "upper"):
        np.testing.assert_array_equal(table[bound], of_pca["kl_p95_ci"].sel(ci_bound=bound))


def test_a_file_has_no_empty_fields_and_keeps_all_digits(
    sample_ds: xr.Dataset, tmp_path: Path
) -> None:
    grid = plot.survival(sample_ds)
    path = write_data(grid.data, tmp_path, "survival")
    assert path.name == "survival_data.csv"
    assert ",," not in path.read_text()
    assert ",\n" not in path.read_text()
    read = pd.read_csv(path, float_precision="round_trip")
    pd.testing.assert_frame_equal(read, tidy(grid.data), check_dtype=False, check_exact=True)
