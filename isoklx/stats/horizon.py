"""Numbers that a survival curve comes down to, up to the largest window at the dose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from isoklx.stats.kernels import kaplan_meier as km
from isoklx.stats.lifetimes import METRICS


def restricted_means(curves: xr.Dataset) -> dict[str, xr.DataArray]:
    """Restricted mean survival time up to the horizon, and what it may be at the least.

    Parameters
    ----------
    curves : Dataset
        As of `isoklx.survival`.

    Returns
    -------
    dict
        ``restricted_mean``, ``restricted_mean_earliest``: in tokens, without the dimension of time;
        lazy where `curves` is.

    Examples
    --------
    >>> import isoklx
    >>> means = restricted_means(isoklx.survival(isoklx.open_sweep("data/sample")))
    >>> means["restricted_mean"].dims
    ('threshold', 'alpha')
    """
    time = METRICS[curves.attrs["metric"]].time
    earliest = xr.apply_ufunc(
        km.earliest_survival,
        curves["at_risk"],
        curves["died"],
        input_core_dims=[[time]] * 2,
        output_core_dims=[[time]],
        dask="parallelized",
        output_dtypes=[np.float64],
    )
    return {
        "restricted_mean": up_to_horizon(km.restricted_mean, curves["survival"], curves),
        "restricted_mean_earliest": up_to_horizon(km.earliest_restricted_mean, earliest, curves),
    }


def up_to_horizon(
    kernel: Callable[..., Any], values: xr.DataArray, curves: xr.Dataset
) -> xr.DataArray:
    """Reduce survival, or a bound of it, to a number that the horizon of the curves goes into.

    Parameters
    ----------
    kernel : callable
        ``at_horizon``, ``restricted_mean`` or ``earliest_restricted_mean`` of the kernels.
    values : DataArray
        Along the time of the curves, and whatever else.
    curves : Dataset
        As of `isoklx.survival`.

    Returns
    -------
    DataArray
        float64, without the dimension of time; lazy where `values` is.

    Examples
    --------
    >>> import isoklx
    >>> curves = isoklx.survival(isoklx.open_sweep("data/sample"))
    >>> up_to_horizon(km.restricted_mean, curves["survival"], curves).sel(alpha=0).item()
    64.0
    """
    time = METRICS[curves.attrs["metric"]].time
    found: xr.DataArray = xr.apply_ufunc(
        kernel,
        values,
        curves[time].variable,
        curves["horizon"],
        input_core_dims=[[time], [time], []],
        dask="parallelized",
        output_dtypes=[np.float64],
    )
    return found
