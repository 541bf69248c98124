"""Kaplan-Meier survival of trajectories, per dose, threshold and group."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import dask.array
import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from dask.delayed import delayed

from isoklx import schema
from isoklx.stats import repeats
from isoklx.stats.groups import Groups, group_cells
from isoklx.stats.kernels import kaplan_meier as km
from isoklx.stats.lifetimes import METRICS, Metric, absent, follow, measured

LEVEL = 0.95

EVENTS = ("died", "censored", "recovered")

LONG_NAMES = {
    "at_risk": "trajectories observed here or later and not dead before",
    "died": "trajectories that died here",
    "censored": "trajectories last observed here, whose rollout ended before the window",
    "recovered": "trajectories that died here and recovered later",
    "survival": "Kaplan-Meier survival",
    "survival_ci": "log-log Greenwood interval of survival",
    "n": "trajectories",
    "n_distinct": "trajectories of distinct cells",
    "horizon": "largest window of the cells observed at the dose, in tokens",
    "threshold": "threshold of death",
}


def survival(
    ds: xr.Dataset,
    metric: str = "pmass_eval",
    threshold: float | Sequence[float] | None = None,
    by: str | Sequence[str] | None = None,
    distinct: bool = True,
) -> xr.Dataset:
    """Estimate Kaplan-Meier survival of trajectories, per dose.

    Parameters
    ----------
    ds : Dataset
        A sweep or any selection of it.
    metric : {"pmass_eval", "pmass", "kl"}
        What death is read from: dead from the first fork with pmass below the threshold for ever,
        or from the first token at which the running maximum of KL reaches it.
    threshold : float or sequence of float, optional
        In (0, 1] for pmass, by default 0.75; in nats for KL, which has no default. Compared in the
        metric's own precision, so that a recorded 0.95 is not below 0.95.
    by : str or sequence of str, optional
        Labels of a cell to group by, such as ``"method"`` or ``["method", "model_short"]``: each is
        a dimension of the result. By default all cells are one group.
    distinct : bool
        Whether cells that repeat another one to the byte are left out, as they are no further
        evidence. The counts and intervals are then over `n_distinct` trajectories, else over `n`.

    Returns
    -------
    Dataset
        Dimensions ``threshold``, those named in `by`, ``alpha`` and ``fork`` (``token`` for KL);
        lazy where `ds` is, the search for cells that repeat each other included. Of what is lazy,
        only the labels and flags of the cells are read, and pmass to see which cells have it.

        at_risk : int64
            Trajectories observed here or later and not dead before.
        died : int64
            Trajectories that died here.
        censored : int64
            Trajectories last observed here, not dead, whose rollout ended before the window. Those
            alive at the end of their window leave the risk set too, and are not counted here.
        recovered : int64
            Of those that died here, how many were on the living side of the threshold later.
        survival : float64
            Kaplan-Meier estimate; carried forward where nobody is at risk any more, NaN where no
            trajectory was observed at all.
        survival_ci : float64, with ``ci_bound`` = lower, upper
            95% log-log Greenwood interval: [1, 1] while nobody died, [0, 0] once nobody is left
            alive. It takes trajectories as independent.
        n, n_distinct : int64, without ``threshold`` and ``fork``
            Trajectories with at least one observation: all of them, and those of distinct cells.
        horizon : int32, without ``threshold`` and ``fork``
            Largest window of the cells observed at that dose, in tokens; 0 where none was.

    Raises
    ------
    DatasetError
        When `ds` is not a sweep, or no cell has the metric.
    UsageError
        For an unknown metric or group, or a threshold that is out of range.

    Notes
    -----
    Death is only seen at forks, so the curve falls at forks, at or after the time of death.

    Examples
    --------
    >>> import isoklx
    >>> curves = survival(isoklx.open_sweep("data/sample"), threshold=[0.5, 0.75])
    >>> curves.survival.dims
    ('threshold', 'alpha', 'fork')
    >>> curves.survival.sel(threshold=0.75, alpha=0.0).values.min()
    np.float64(1.0)
    """
    whole = measured(ds, metric)
    lives = follow(whole, metric, threshold)
    spec = METRICS[metric]
    groups = group_cells(whole, by, whole[spec.flag].values == 1)
    n_times = whole.sizes[spec.time]
    observed, first = lives["end"] >= 0, first_of_repeats(whole)

    everyone = _count(lives["end"], observed, groups, spec, n_times)
    unrepeated = _count(lives["end"], observed & first, groups, spec, n_times)
    ended, kept = (unrepeated, first) if distinct else (everyone, True)
    events = {
        name: _count(lives["end"], lives[name] & kept, groups, spec, n_times) for name in EVENTS
    }
    at_risk, estimate, interval = xr.apply_ufunc(
        km.curves,
        ended,
        events["died"],
        input_core_dims=[[spec.time]] * 2,
        output_core_dims=[[spec.time], [spec.time], [spec.time, "ci_bound"]],
        kwargs={"level": LEVEL},
        dask="parallelized",
        output_dtypes=[np.int64, np.float64, np.float64],
        dask_gufunc_kwargs={"output_sizes": {"ci_bound": 2}},
    )
    curves = xr.Dataset(
        {
            "at_risk": at_risk,
            **events,
            "survival": estimate,
            "survival_ci": interval,
            "n": everyone.isel(threshold=0, drop=True).sum(spec.time),
            "n_distinct": unrepeated.isel(threshold=0, drop=True).sum(spec.time),
            "horizon": _horizon(whole["window"].variable, observed, groups, spec),
        },
        {
            spec.time: whole[spec.time],
            "ci_bound": ("ci_bound", ["lower", "upper"], {"level": LEVEL}),
            **groups.labels,
        },
        {"metric": metric, "cells": "distinct" if distinct else "all"},
    )
    for name, long_name in LONG_NAMES.items():
        units = {} if name in curves.coords else {"units": "1"}
        curves[name].attrs = {"long_name": long_name, **units}
    return curves


def survival_summary(
    ds: xr.Dataset,
    metric: str = "pmass_eval",
    threshold: float | Sequence[float] | None = None,
    by: str | Sequence[str] | None = None,
    distinct: bool = True,
) -> pd.DataFrame:
    """Summarise survival in one row per threshold, group and dose.

    Parameters
    ----------
    ds, metric, threshold, by, distinct
        As for `survival`.

    Returns
    -------
    DataFrame
        Rows sorted by the first columns: ``threshold``, those named in `by`, ``alpha``. Then

        n, n_distinct
            Trajectories, and those of distinct cells: what the columns that follow are made of,
            unless ``distinct=False``.
        died, censored, recovered
            Counts. Who neither died nor was censored was alive at the end of its window.
        end_survival, end_lower, end_upper
            Survival at the last fork and its 95% interval.
        half_life_after, half_life_by
            The last fork with S > 0.5 at which anybody was at risk, and the first with S <= 0.5
            (equality to 1e-9): half were dead by some time between the two. NaN where none is.
        restricted_mean
            Restricted mean survival time in tokens: the area under the step curve up to `horizon`.
            Death is only seen at forks, so that it errs on the long side by up to the gap before.
        horizon
            Largest window of the group's cells that were observed at the dose, in tokens.

        Doses that a group was not run at have no row.

    Raises
    ------
    DatasetError
        When `ds` is not a sweep, or no cell has the metric.
    UsageError
        For an unknown metric or group, or a threshold that is out of range.

    Examples
    --------
    >>> import isoklx
    >>> summary = survival_summary(isoklx.open_sweep("data/sample"), by="method")
    >>> list(summary.columns[:5])
    ['threshold', 'method', 'alpha', 'n', 'n_distinct']
    """
    curves = survival(ds, metric, threshold, by, distinct).compute()
    if not curves["n"].any():
        raise absent(metric)
    time = METRICS[metric].time
    times = curves[time].values
    bracket = xr.apply_ufunc(
        km.half_life,
        curves["survival"],
        curves["at_risk"],
        kwargs={"times": times},
        input_core_dims=[[time]] * 2,
        output_core_dims=[["bound"]],
    )
    mean = xr.apply_ufunc(
        lambda survival, horizon: km.restricted_mean(survival, times, horizon),
        curves["survival"],
        curves["horizon"],
        input_core_dims=[[time], []],
    )
    end = curves.isel({time: -1}, drop=True)
    columns = {
        "n": curves["n"],
        "n_distinct": curves["n_distinct"],
        **{name: curves[name].sum(time) for name in EVENTS},
        "end_survival": end["survival"],
        "end_lower": end["survival_ci"].sel(ci_bound="lower", drop=True),
        "end_upper": end["survival_ci"].sel(ci_bound="upper", drop=True),
        "half_life_after": bracket.isel(bound=0),
        "half_life_by": bracket.isel(bound=1),
        "restricted_mean": mean,
        "horizon": curves["horizon"],
    }
    keys = [dim for dim in curves["survival"].dims if dim != time]
    table = xr.Dataset(columns).to_dataframe(dim_order=keys)
    return table[table["n"] > 0].sort_index().reset_index()[[*keys, *columns]]


def first_of_repeats(ds: xr.Dataset) -> xr.DataArray:
    """Tell which cells repeat no earlier one.

    Parameters
    ----------
    ds : Dataset
        A sweep, with dimension ``cell``.

    Returns
    -------
    DataArray
        bool, along ``cell``; lazy where ``kl`` or ``pmass_eval`` is.

    Raises
    ------
    DatasetError
        When `ds` is not a sweep.

    Examples
    --------
    >>> import isoklx
    >>> ds = isoklx.open_sweep("data/sample")
    >>> first_of_repeats(ds).sum().item() == repeats.distinct(ds).sizes["cell"]
    True
    """
    schema.require(ds, ["run_id", *repeats.MEASURED])
    look_up = partial(_is_first, ds)
    if any(ds[name].chunks for name in repeats.MEASURED):
        # The comparison reads no more than it must, which only it can know as it goes.
        shape = (ds.sizes["cell"],)
        first = dask.array.from_delayed(  # type: ignore[no-untyped-call]
            delayed(look_up)(), shape, dtype=bool
        )
    else:
        first = look_up()
    return xr.DataArray(first, dims="cell")


def _is_first(ds: xr.Dataset) -> npt.NDArray[np.bool_]:
    return np.isin(ds["run_id"].values, repeats.distinct(ds)["run_id"].values)


def _count(
    end: xr.DataArray, counted: xr.DataArray, groups: Groups, spec: Metric, n_times: int
) -> xr.DataArray:
    """Count trajectories by group and by the time at which they ended."""
    counts: xr.DataArray = xr.apply_ufunc(
        km.tally,
        end,
        counted,
        groups.code,
        input_core_dims=[spec.units, spec.units, ["cell"]],
        output_core_dims=[[*groups.labels, spec.time]],
        kwargs={"groups": groups.shape, "n_times": n_times},
        dask="parallelized",
        output_dtypes=[np.int64],
        dask_gufunc_kwargs={
            "output_sizes": {**_sizes(groups), spec.time: n_times},
            "allow_rechunk": True,
        },
    )
    return counts.transpose("threshold", *groups.labels, "alpha", spec.time)


def _horizon(
    window: xr.Variable, observed: xr.DataArray, groups: Groups, spec: Metric
) -> xr.DataArray:
    """Largest window, by group and dose, of the cells that have a trajectory there."""
    horizon: xr.DataArray = xr.apply_ufunc(
        km.largest,
        window,
        observed.isel(threshold=0, drop=True).any(spec.unit),
        groups.code,
        input_core_dims=[["cell"]] * 3,
        output_core_dims=[list(groups.labels)],
        kwargs={"groups": groups.shape},
        dask="parallelized",
        output_dtypes=[np.int32],
        dask_gufunc_kwargs={"output_sizes": _sizes(groups), "allow_rechunk": True},
    )
    return horizon.transpose(*groups.labels, "alpha")


def _sizes(groups: Groups) -> dict[str, int]:
    return dict(zip(groups.labels, groups.shape, strict=True))
