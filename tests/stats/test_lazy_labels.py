"""Sweeps opened by plain xarray in chunks: labels are lazy as well, with their own chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import isoklx
from isoklx.stats.deduplication import compare, count_cells, count_trajectories
from isoklx.stats.endpoint import lifetimes
from isoklx.tables import captioned as captioned_tables

CHUNKS = {"kl": (5, 2, 3, 20), "pmass_eval": (2, 6, 8, 3), "method": (7,), "window": (3,)}


@pytest.fixture
def lazy(sample_ds: xr.Dataset, tmp_path: Path) -> Iterator[xr.Dataset]:
    encoding = {name: {"chunksizes": sizes} for name, sizes in CHUNKS.items()}
    sample_ds.drop_encoding().to_netcdf(tmp_path / "q.nc", encoding=encoding)
    with xr.open_dataset(tmp_path / "q.nc", chunks={}) as ds:
        assert ds["kl"].variable.chunks[0] != ds["method"].chunks[0]
        yield ds


@pytest.mark.parametrize(
    "function",
    [
        lambda ds: isoklx.smooth(ds.kl, 9),
        lambda ds: isoklx.quantile(ds.kl, [0.1, 0.5]),
        lambda ds: isoklx.bands(ds, roll=9),
        isoklx.crossed,
        isoklx.share_above,
        isoklx.normalise_kl,
        isoklx.pmass_on_tokens,
        lambda ds: isoklx.survival(ds, by="method").survival,
        lambda ds: isoklx.survival(ds, "kl", 5).survival_ci,
        lambda ds: lifetimes(ds).end,
        lambda ds: isoklx.distinct(ds).kl,
    ],
)
def test_arrays_stay_lazy_and_have_the_same_numbers(
    function: Callable[[xr.Dataset], xr.DataArray], sample_ds: xr.Dataset, lazy: xr.Dataset
) -> None:
    found = function(lazy)
    assert found.variable.chunks is not None
    np.testing.assert_allclose(found, function(sample_ds), rtol=1e-6)


@pytest.mark.parametrize(
    "tabulate",
    [
        isoklx.headline_table,
        isoklx.calibration_table,
        lambda ds: isoklx.survival_summary(ds, by=["method", "window"]),
        isoklx.survival_contrast,
        lambda ds: captioned_tables.survival(ds, by=["method"]).frame,
    ],
)
def test_tables_are_the_same(
    tabulate: Callable[[xr.Dataset], pd.DataFrame], sample_ds: xr.Dataset, lazy: xr.Dataset
) -> None:
    pd.testing.assert_frame_equal(tabulate(lazy), tabulate(sample_ds))


@pytest.mark.parametrize(
    "look",
    [
        count_cells,
        lambda ds: compare(ds).groups,
        lambda ds: count_trajectories(ds).n_distinct.values.tolist(),
        lambda ds: isoklx.repeats(ds).values.tolist(),
    ],
)
def test_duplicates_are_the_same(
    look: Callable[[xr.Dataset], Any], sample_ds: xr.Dataset, lazy: xr.Dataset
) -> None:
    assert look(lazy) == look(sample_ds)
