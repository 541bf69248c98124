from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from isoklx.stats.targets import crossed, share_above


@pytest.fixture
def ds(sample_ds: xr.Dataset) -> xr.Dataset:
    """The sample with a gap inside a trajectory, and a trajectory that was not run."""
    kl = sample_ds["kl"].copy()
    kl[0, 1, 0, 7] = np.nan
    kl[1, 2, 3] = np.nan
    return sample_ds.assign(kl=kl)


class TestShareAbove:
    def test_it_is_over_the_rollouts_own_tokens(self, ds):
        found = share_above(ds)
        kl, target = ds["kl"].values, ds["target_kl"].values
        for cell, alpha, prompt in np.ndindex(found.shape):
            own = kl[cell, alpha, prompt]
            own = own[~np.isnan(own)]
            expected = np.mean(own > np.float32(target[cell])) if own.size else np.nan
            np.testing.assert_equal(found.values[cell, alpha, prompt], expected)
        np.testing.assert_array_equal(crossed(ds), found > 0)


class TestCrossed:
    def test_kl_must_strictly_exceed_the_cells_own_target(self):
        kl = np.array([[[[0.1, np.nan]], [[0.2, 0.0]]], [[[0.2, 0.1]], [[np.nan, np.nan]]]], "f4")
        ds = xr.Dataset(
            {"kl": (("cell", "alpha", "prompt", "token"), kl), "target_kl": ("cell", [0.1, 0.2])},
            {"token": [0, 1]},
        )
        # float32(0.1) is larger than 0.1, and must not count as exceeding it.
        assert crossed(ds).values.tolist() == [[[False], [True]], [[False], [False]]]
