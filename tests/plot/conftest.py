"""Fixtures: figures are drawn without a screen, and closed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
import xarray as xr

import isoklx
from isoklx.simulation.sweep import grid, simulate


@pytest.fixture(autouse=True)
def no_screen() -> Iterator[None]:
    mpl.use("agg")
    yield
    plt.close("all")


@pytest.fixture(scope="session")
def real_in_memory(real_root: Path) -> xr.Dataset:
    return isoklx.open_sweep(real_root).load()


@pytest.fixture(scope="session")
def sample_in_memory(sample: Path) -> xr.Dataset:
    return isoklx.open_sweep(sample).load()


@pytest.fixture
def real(real_in_memory: xr.Dataset) -> xr.Dataset:
    """Read the sweep once for all figures."""
    return real_in_memory.copy()


@pytest.fixture
def sample_ds(sample_in_memory: xr.Dataset) -> xr.Dataset:
    return sample_in_memory.copy()


@pytest.fixture(scope="session")
def eight_doses(tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    """Return a sweep of many doses, with long and unusual names."""
    root = tmp_path_factory.mktemp("eight")
    long = "a_method_$x^2$_with_quite_a_long_name_that_goes_on"
    model = "org/A-model-of-a-very-long-name-0.8B-Instruct-2507-thinking"
    alphas = (0.0, 0.125, 0.25, 0.5, 0.75, 1.0, 2.0, 4.0)
    simulate(root, grid([model], ["mean_diff", "pca", long], [0], [64], prompts=3, alphas=alphas))
    return isoklx.open_sweep(root).load()
