"""Duplicates change no number over distinct trajectories, wherever they come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import isoklx
from isoklx.stats.deduplication import count_trajectories

SAMPLE = Path(__file__).resolve().parents[2] / "data" / "sample"
TOTALS = ["n"]
"""Columns that count duplicates."""


@pytest.fixture(scope="module")
def ds() -> Iterator[xr.Dataset]:
    """Five cells of two methods, two of them duplicates; three doses, few tokens."""
    with isoklx.open_sweep(SAMPLE) as whole:
        cells = whole["model_short"].values == "simulated-1B"
        part = whole.isel(cell=np.flatnonzero(cells)[:5], token=slice(0, 24), prompt=slice(0, 5))
        yield part.sel(alpha=[0.0, 1.0, 2.0]).load()


def as_rows(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(columns=TOTALS, errors="ignore")


STATISTICS: dict[str, Callable[[xr.Dataset], Any]] = {
    "survival": lambda ds: isoklx.survival(ds, threshold=[0.75, 0.95]).drop_vars(TOTALS),
    "survival by method": lambda ds: isoklx.survival(ds, by="method").drop_vars(TOTALS),
    "survival by KL": lambda ds: isoklx.survival(ds, "kl", 2, by="method").drop_vars(TOTALS),
    "summary": lambda ds: as_rows(isoklx.survival_summary(ds, by="method")),
    "contrast": lambda ds: as_rows(isoklx.survival_contrast(ds)),
    "contrast of doses": lambda ds: as_rows(isoklx.survival_contrast(ds, by="alpha")),
    "dose response": lambda ds: isoklx.dose_response(ds).drop_vars(TOTALS),
    "safe dose": lambda ds: as_rows(isoklx.safe_dose(ds, survive=0.5)).drop(
        columns=["coeff", "observed_coeff"]
    ),
    "bands": isoklx.bands,
    "trajectories": lambda ds: count_trajectories(ds).n_distinct,
    "spread of seeds": lambda ds: isoklx.headline_table(ds)[["method", "c_std", "n_distinct"]],
}


def assert_same(found: Any, expected: Any) -> None:
    if isinstance(expected, pd.DataFrame):
        pd.testing.assert_frame_equal(found, expected, rtol=1e-12, atol=1e-12)
    else:
        # The order of a sum may change its last digit.
        xr.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def repeated(ds: xr.Dataset, cell: int, doses: list[bool], name: str) -> xr.Dataset:
    """Copy a cell at some of its doses."""
    again = ds.isel(cell=[cell])
    kept = xr.DataArray(doses, dims="alpha")
    missing = {
        name: da.where(kept)
        for name, da in again.data_vars.items()
        if "alpha" in da.dims and da.dtype.kind == "f"
    }
    again = again.assign({name: da.transpose(*again[name].dims) for name, da in missing.items()})
    labels = {"run_id": ("cell", [name])}
    return again.reset_index("run_id").assign_coords(labels).set_xindex("run_id")


def joined(*parts: xr.Dataset) -> xr.Dataset:
    return xr.concat(parts, "cell", data_vars="minimal", join="outer", combine_attrs="override")


copies = st.lists(
    st.tuples(st.integers(0, 4), st.lists(st.booleans(), min_size=3, max_size=3)),
    min_size=1,
    max_size=3,
)


@pytest.mark.slow
@pytest.mark.parametrize("name", STATISTICS)
@settings(max_examples=8)
@given(copies=copies, first=st.booleans())
def test_duplicates_at_any_doses_change_nothing(
    ds: xr.Dataset, name: str, copies: list[tuple[int, list[bool]]], first: bool
) -> None:
    more = [repeated(ds, cell, doses, f"copy{i}") for i, (cell, doses) in enumerate(copies)]
    together = joined(*more, ds) if first else joined(ds, *more)
    statistic = STATISTICS[name]
    assert_same(statistic(together), statistic(ds))


@pytest.mark.slow
@pytest.mark.parametrize("name", STATISTICS)
@settings(max_examples=5)
@given(cells=st.permutations(range(5)), prompts=st.permutations(range(5)))
def test_the_order_of_cells_and_prompts_changes_nothing(
    ds: xr.Dataset, name: str, cells: list[int], prompts: list[int]
) -> None:
    statistic = STATISTICS[name]
    assert_same(statistic(ds.isel(cell=cells, prompt=prompts)), statistic(ds))


@pytest.mark.parametrize("name", STATISTICS)
def test_other_doses_of_a_file_change_nothing(ds: xr.Dataset, name: str) -> None:
    if name in ("safe dose", "dose response", "contrast of doses", "spread of seeds"):
        pytest.skip("is of several doses, or of none")
    statistic = STATISTICS[name]
    whole, alone = statistic(ds), statistic(ds.sel(alpha=[2.0]))
    if isinstance(whole, pd.DataFrame):
        whole = whole[whole["alpha"] == 2].reset_index(drop=True)
        whole, alone = (each.drop(columns="p_holm", errors="ignore") for each in (whole, alone))
    else:
        whole = whole.sel(alpha=[2.0])
    assert_same(alone, whole)


@pytest.mark.slow
@pytest.mark.parametrize("name", STATISTICS)
@settings(max_examples=5)
@given(
    halves=st.lists(st.booleans(), min_size=5, max_size=5).filter(lambda x: 0 < sum(x) < 5),
    dose=st.sampled_from([None, 0, 1, 2]),
)
def test_a_sweep_in_two_parts_equals_the_sweep(
    ds: xr.Dataset, name: str, halves: list[bool], dose: int | None
) -> None:
    """Split by cells, and by doses: a cell whose doses are split counts as two cells."""
    left, right = (ds.isel(cell=np.flatnonzero(np.equal(halves, side))) for side in (True, False))
    if dose is not None:
        doses = [i == dose for i in range(3)]
        parts = [repeated(left, i, doses, f"rerun{i}") for i in range(left.sizes["cell"])]
        right = joined(right, *parts)
    statistic = STATISTICS[name]
    found, expected = statistic(joined(left, right)), statistic(ds)
    if name == "dose response" and dose is not None:
        # A rerun without alpha 0 has no reference for the change of its answers.
        found, expected = (without_changes(each) for each in (found, expected))
    assert_same(found, expected)


def without_changes(doses: xr.Dataset) -> xr.Dataset:
    return doses.drop_vars(
        [name for name in doses if str(name).startswith(("acquiescence", "correct"))]
    )


def test_a_sweep_and_a_denser_run_of_the_same_cell_count_it_once(real: xr.Dataset) -> None:
    """Seen: 32 distinct trajectories at alpha 2 in a combined file, and 24 in each part."""
    dense = repeated(real, 0, [True, False, True, True, False], "denser")
    rows = isoklx.survival_summary(joined(real, dense), threshold=0.95)
    expected = isoklx.survival_summary(real, threshold=0.95)
    assert rows["n"].tolist() == [80, 72, 80, 80, 72]
    assert_same(as_rows(rows), as_rows(expected))
    alone = isoklx.survival_summary(joined(real, dense).sel(alpha=[2.0]), threshold=0.95)
    assert_same(as_rows(alone), as_rows(rows[rows["alpha"] == 2].reset_index(drop=True)))
