import numpy as np
import pytest
import xarray as xr

from isoklx import schema
from isoklx.errors import DatasetError, UsageError
from isoklx.stats.selection import restore_dims, select_alphas


def test_alphas_are_selected_in_the_order_asked_for(sample_ds):
    assert select_alphas(sample_ds, [2, 0.25]).alpha.values.tolist() == [2, 0.25]


def test_an_alpha_that_rounding_moved_is_still_that_alpha(sample_ds):
    assert select_alphas(sample_ds, [0.1 + 0.2 - 0.05]).alpha.values.tolist() == [0.25]


def test_an_alpha_that_is_not_there_is_refused_with_those_that_are(sample_ds):
    known = ", ".join(f"{alpha:g}" for alpha in sample_ds.alpha.values)
    with pytest.raises(UsageError, match=f"^no alpha 0.3, 7 in this sweep; it has {known}$"):
        select_alphas(sample_ds, [0.3, 1, 7])


def test_a_sweep_without_alphas_says_so(sample_ds):
    with pytest.raises(UsageError, match="it has none"):
        select_alphas(sample_ds.isel(alpha=[]), [1])


def test_a_dataset_without_alpha_is_refused():
    with pytest.raises(DatasetError, match="it has no alpha"):
        select_alphas(xr.Dataset(), [1])


@pytest.mark.parametrize("dims", [["cell"], ["alpha"], ["cell", "alpha", "prompt", "fork"]])
def test_dropped_dimensions_come_back(sample_ds, dims):
    whole = restore_dims(sample_ds.isel(dict.fromkeys(dims, 1)))
    for name in sample_ds.variables:
        assert set(whole[name].dims) == set(schema.VARIABLES[name].dims), name
    xr.testing.assert_equal(
        whole.drop_vars("run_id"), sample_ds.isel({dim: [1] for dim in dims}).drop_vars("run_id")
    )


def test_a_whole_sweep_stays_as_it_is(sample_ds):
    xr.testing.assert_identical(restore_dims(sample_ds), sample_ds)
    assert np.shares_memory(restore_dims(sample_ds).kl.values, sample_ds.kl.values)
