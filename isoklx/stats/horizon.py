"""Numbers that a survival curve comes down to, up to the largest window at the dose.

They are NaN where the curve ends before: an estimate at the horizon, or a mean up to it, would rest
on tokens at which no trajectory was observed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from isoklx.stats.groups import Groups
from isoklx.stats.kernels import kaplan_meier as km
from isoklx.stats.kernels import tallies
from isoklx.stats.lifetimes import METRICS, Metric


def largest_window(
    window: xr.Variable, counted: xr.DataArray, groups: Groups, spec: Metric
) -> xr.DataArray:
    """Find the largest window, by group and dose, of the cells with a counted trajectory.

    Parameters
    ----------
    window : Variable
        Along ``cell``.
    counted : DataArray of bool
        Along ``cell``, ``alpha``, the metric's unit and, if at all, ``threshold``.
    groups : Groups
    spec : Metric

    Returns
    -------
    DataArray
        int32; 0 without a trajectory; lazy where `counted` is.
    """
    sizes = dict(zip(groups.labels, groups.shape, strict=True))
    largest: xr.DataArray = xr.apply_ufunc(
        tallies.largest,
        window,
        counted.any(spec.unit),
        groups.code,
        input_core_dims=[["cell"]] * 3,
        output_core_dims=[list(groups.labels)],
        kwargs={"groups": groups.shape},
        dask="parallelized",
        output_dtypes=[np.int32],
        dask_gufunc_kwargs={"output_sizes": sizes, "allow_rechunk": True},
    )
    return largest.transpose("threshold", *groups.labels, "alpha", missing_dims="ignore")


def observed_to(
    survival: xr.DataArray,
    at_risk: xr.DataArray,
    complete: xr.DataArray,
    horizon: xr.DataArray,
    times: npt.NDArray[Any],
    spec: Metric,
) -> xr.DataArray:
    """Find up to which token each curve is known.

    Parameters
    ----------
    survival, at_risk : DataArray
        As of `isoklx.survival`.
    complete, horizon : DataArray
        `largest_window` of the trajectories that were alive at the end of it, and of all.
    times : array of int
        Labels of the metric's time axis.
    spec : Metric

    Returns
    -------
    DataArray
        int32, of the dims of `complete`; lazy where `survival` is.
    """
    found: xr.DataArray = xr.apply_ufunc(
        _observed_to,
        survival,
        at_risk,
        complete,
        horizon,
        input_core_dims=[[spec.time], [spec.time], [], []],
        kwargs={"times": times, "spec": spec},
        dask="parallelized",
        output_dtypes=[np.int32],
    )
    return found.transpose(*complete.dims)


def _observed_to(
    survival: Any, at_risk: Any, complete: Any, horizon: Any, *, times: Any, spec: Metric
) -> npt.NDArray[np.int32]:
    last_probe = spec.last_probe(times, horizon)
    found = km.observed_to(survival, at_risk, complete, last_probe, horizon, times=times)
    return found.astype(np.int32)


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
        NaN where the curve ends before the horizon; lazy where `curves` is.

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
        float64, without the dimension of time; NaN where ``observed_to`` is before ``horizon``;
        lazy where `values` is.

    Examples
    --------
    >>> import isoklx
    >>> curves = isoklx.survival(isoklx.open_sweep("data/sample"))
    >>> up_to_horizon(km.restricted_mean, curves["survival"], curves).sel(alpha=0).item()
    64.0
    """
    found = _reduced(kernel, values, curves)
    return found.where(curves["observed_to"] >= curves["horizon"])


def at_end(values: xr.DataArray, curves: xr.Dataset) -> xr.DataArray:
    """Read survival, or a bound of it, off where the curve ends: at ``observed_to``."""
    return _reduced(km.at_horizon, values, curves)


def _reduced(kernel: Callable[..., Any], values: xr.DataArray, curves: xr.Dataset) -> xr.DataArray:
    time = METRICS[curves.attrs["metric"]].time
    found: xr.DataArray = xr.apply_ufunc(
        _of_known,
        values,
        curves[time].variable,
        curves["horizon"],
        input_core_dims=[[time], [time], []],
        kwargs={"kernel": kernel},
        dask="parallelized",
        output_dtypes=[np.float64],
    )
    return found


def _of_known(values: Any, times: Any, horizon: Any, *, kernel: Callable[..., Any]) -> Any:
    """Reduce a curve whose last known value holds up to the horizon."""
    return kernel(km.carry_forward(values), times, horizon)
