"""KL relative to the calibration's target: which trajectories exceed it, and for how long."""

from __future__ import annotations

import xarray as xr

from isoklx import schema
from isoklx.stats.along import kl_of, positive, renamed


def crossed(ds: xr.Dataset) -> xr.DataArray:
    """Return whether KL exceeds ``target_kl`` at any token of each trajectory.

    Parameters
    ----------
    ds : Dataset
        A sweep or any selection of it.

    Returns
    -------
    DataArray
        Booleans with the dims of ``kl`` without ``token``; lazy where ``kl`` is. The comparison is
        strict, in the precision of ``kl``. NaN does not exceed: False for a trajectory without KL.

    Raises
    ------
    DatasetError
        When `ds` lacks ``kl`` or ``target_kl``.
    UsageError
        When a single token was selected.

    See Also
    --------
    share_above

    Examples
    --------
    >>> import isoklx
    >>> ds = isoklx.open_sweep("data/sample")
    >>> crossed(ds).sel(alpha=[0, 4]).mean(["cell", "prompt"]).values
    array([0., 1.])
    """
    return renamed(above_target(ds).any("token"), "crossed", "KL was above target_kl at any token")


def share_above(ds: xr.Dataset) -> xr.DataArray:
    """Return the share of each trajectory's tokens whose KL exceeds ``target_kl``.

    If the target is of the p95, about 5% of all tokens exceed it at alpha 1 by construction, and
    `isoklx.crossed` is true for nearly every trajectory; this share discriminates better.

    Parameters
    ----------
    ds : Dataset
        A sweep or any selection of it.

    Returns
    -------
    DataArray
        Float64, with the dims of ``kl`` without ``token``; lazy where ``kl`` is. The comparison is
        strict, in the precision of ``kl``. NaN for a trajectory without KL.

    Raises
    ------
    DatasetError
        When `ds` lacks ``kl`` or ``target_kl``.
    UsageError
        When a single token was selected.

    Examples
    --------
    >>> import isoklx
    >>> ds = isoklx.open_sweep("data/sample")
    >>> share_above(ds).sel(alpha=[0, 1, 4]).mean(["cell", "prompt"]).round(2).values
    array([0.  , 0.06, 1.  ])
    """
    above = above_target(ds).sum("token") / kl_of(ds).notnull().sum("token").pipe(positive)
    return renamed(above, "share_above", "share of tokens with KL above target_kl")


def above_target(ds: xr.Dataset) -> xr.DataArray:
    """Mark the tokens whose KL exceeds ``target_kl``, strictly, in the precision of ``kl``."""
    kl = kl_of(ds)
    schema.require(ds, ["target_kl"])
    return kl > ds["target_kl"].astype(kl.dtype)
