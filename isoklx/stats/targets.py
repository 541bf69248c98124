"""KL held against the target of the calibration: who crossed it, and how much lay above."""

from __future__ import annotations

import xarray as xr

from isoklx import schema
from isoklx.stats.along import kl_of, positive, renamed


def crossed(ds: xr.Dataset) -> xr.DataArray:
    """Tell which trajectories had a KL above ``target_kl`` at any token.

    Parameters
    ----------
    ds : Dataset
        A sweep or any selection of it.

    Returns
    -------
    DataArray
        Of bool and the dims of ``kl`` without ``token``; lazy where ``kl`` is. Strictly above, in
        the precision of ``kl``; NaN is not above, so that it is False where there is no KL at all.

    Raises
    ------
    DatasetError
        When `ds` has no ``kl`` or ``target_kl``.
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
    """Tell which share of each trajectory's tokens had a KL above ``target_kl``.

    At alpha 1 about 5% of all tokens are above by construction, so that nearly every trajectory
    has `isoklx.crossed`; how long it stayed above says more.

    Parameters
    ----------
    ds : Dataset
        A sweep or any selection of it.

    Returns
    -------
    DataArray
        Of float64 and the dims of ``kl`` without ``token``; lazy where ``kl`` is. Strictly above,
        in the precision of ``kl``; NaN where there is no KL.

    Raises
    ------
    DatasetError
        When `ds` has no ``kl`` or ``target_kl``.
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
    """Tell at which tokens KL was above ``target_kl``.

    Parameters
    ----------
    ds : Dataset
        A sweep or any selection of it.

    Returns
    -------
    DataArray
        bool, of the dims of ``kl``; lazy where that is. Strictly above, in the precision of ``kl``.

    Raises
    ------
    DatasetError
        When `ds` has no ``kl`` or ``target_kl``.
    UsageError
        When a single token was selected.

    Examples
    --------
    >>> import isoklx
    >>> above_target(isoklx.open_sweep("data/sample")).sel(alpha=0).any().item()
    False
    """
    kl = kl_of(ds)
    schema.require(ds, ["target_kl"])
    return kl > ds["target_kl"].astype(kl.dtype)
