"""Kaplan-Meier survival of trajectories by dose, threshold and group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from isoklx.errors import UsageError
from isoklx.stats.deduplication import first_of_repeats
from isoklx.stats.endpoint import (
    METRICS,
    Ended,
    Metric,
    absent,
    at_end,
    event_times,
    largest_window,
    observed_to,
    restricted_means,
    validated,
)
from isoklx.stats.groups import Groups, group_cells
from isoklx.stats.kernels import kaplan_meier as km
from isoklx.stats.kernels import tallies
from isoklx.stats.kernels.kaplan_meier import INTERVALS, Interval, curves

LEVEL = 0.95

Tally = Callable[..., Any]

EVENTS = ("died", "censored", "recovered")

LONG_NAMES = {
    "at_risk": "trajectories observed here or later and not dead before",
    "died": "trajectories that died here",
    "censored": "trajectories last observed here, whose rollout ended before the window",
    "recovered": "trajectories that died here and recovered later",
    "survival": "Kaplan-Meier survival",
    "survival_ci": "interval of survival",
    "n": "trajectories",
    "n_distinct": "trajectories of distinct cells",
    "n_prompts": "prompts of the counted trajectories",
    "horizon": "largest window of the cells observed at the dose, in tokens",
    "observed_to": "token up to which survival is known: the horizon, or the end of the curve",
    "threshold": "threshold of death",
}


def survival(
    ds: xr.Dataset,
    metric: str = "pmass_eval",
    threshold: float | Sequence[float] | None = None,
    by: str | Sequence[str] | None = None,
    distinct: bool = True,
    interval: Interval = "auto",
    ended: Ended = "censored",
    *,
    level: float = LEVEL,
) -> xr.Dataset:
    """Estimate Kaplan-Meier survival of trajectories at each dose.

    Parameters
    ----------
    ds : Dataset
        A sweep or any selection of it.
    metric : {"pmass_eval", "pmass", "kl"}
        Variable that defines death. A trajectory is dead from the first fork with pmass below the
        threshold, or from the first token at which KL reaches it, and stays dead.
    threshold : float or sequence of float, optional
        In (0, 1] for pmass, by default 0.75; in nats for KL, without a default. Compared in the
        metric's own precision, so that a recorded 0.95 is not below 0.95.
    by : str or sequence of str, optional
        Labels of a cell to group by, such as ``"method"`` or ``["method", "model_short"]``; each is
        a dimension of the result. Models, methods, seeds and windows that are not in `by` are
        pooled; by default all cells are one group. Both sides of a direction, and several
        temperatures, are never pooled: a group that has them gets the further dimension ``sign`` or
        ``temperature``.
    distinct : bool
        Whether to leave out duplicates, at each dose: cells whose values equal those of another
        cell of the group to the byte, and which add no evidence. Counts and intervals are then
        over `n_distinct` trajectories, else over `n`.
    interval : {"auto", "beta", "prompts", "greenwood"}
        Method of `survival_ci`, see Notes.
    ended : {"censored", "alive"}
        State of a rollout after it ended, alive, before its window: unknown (censored), or alive to
        the end of the window.
    level : float
        Confidence of the interval.

    Returns
    -------
    Dataset
        Dimensions ``threshold``, the labels in `by`, ``alpha`` and ``fork`` (``token`` for KL);
        lazy where `ds` is, including the search for duplicates. Of lazy arrays, only the labels and
        flags of the cells are read, and pmass to find the cells that have it.

        at_risk : int64
            Trajectories observed here or later and not dead before.
        died : int64
            Trajectories that died here.
        censored : int64
            Trajectories last observed here, alive, whose rollout ended before the window.
            Trajectories alive at the end of their window leave the risk set uncounted.
        recovered : int64
            Trajectories that died here and were on the living side of the threshold later.
        survival : float64
            Kaplan-Meier estimate. It ends with the last trajectory at risk: NaN beyond, except
            after the death of all trajectories, when it stays 0.
        survival_ci : float64, with ``ci_bound`` = lower, upper
            Interval with confidence `level`; NaN where `survival` is.
        n, n_distinct : int64, without ``threshold`` and ``fork``
            Trajectories with at least one observation: all of them, and without duplicates within
            their group.
        n_prompts : int64, without ``threshold`` and ``fork``
            Prompts (questions for pmass) of the counted trajectories.
        horizon : int32, without ``threshold`` and ``fork``
            Largest window of the cells observed at that dose, in tokens; 0 without observations.
        observed_to : int32, without ``fork``
            Token up to which the curve is known. It is `horizon` if a trajectory is at risk at the
            last fork up to it, if one was observed alive to the end of a window of that length, or
            if all have died; else it is the last fork with a trajectory at risk.

    Raises
    ------
    DatasetError
        When `ds` is not a sweep, or no cell has the metric.
    UsageError
        For an unknown metric or label, or a threshold that is out of range.

    Notes
    -----
    Death is observed at forks only, so the curve falls at forks, at or after the time of death. A
    rollout that ended early, alive, is censored: afterwards it is assumed to be at the same risk as
    the trajectories still observed, unless ``ended="alive"``.

    Survival beyond `observed_to` is not estimated. R's survival package does the same: its curves
    end at the last observation, and ``summary(fit, times=48)`` is empty beyond. (lifelines repeats
    the last value.) Estimates at the horizon, or up to it, are NaN if the curve ends before.

    Intervals:

    - ``"beta"`` is the beta product of Fay, Brittain and Proschan (2013). Without censoring it is
      Clopper and Pearson's interval: [0.858, 1] with 24 of 24 surviving. It assumes independent
      trajectories, as in a group with one trajectory per prompt.
    - ``"prompts"`` is for groups with several trajectories per prompt (methods, models, sampled
      seeds) and any dependence between them: the beta product at the effective sample size in the
      worst case, in which all trajectories of a prompt are copies of one. It is as wide as the
      interval for one trajectory per prompt, or wider if some prompts have more trajectories than
      others.
    - ``"auto"`` is ``"prompts"``. With one trajectory per prompt that equals ``"beta"``.
    - ``"greenwood"`` is Greenwood's on the scale of log(-log S), as survival packages draw it:
      [1, 1] without events. In simulations with 8 prompts and a true survival of 0.9 it covered the
      truth in 45% of the cases, ``"auto"`` in 99% (docs/coverage.md).

    Examples
    --------
    >>> import isoklx
    >>> curves = survival(isoklx.open_sweep("data/sample"), threshold=[0.5, 0.75])
    >>> curves.survival.dims
    ('threshold', 'alpha', 'fork')
    >>> curves.survival.sel(threshold=0.75, alpha=0.0).values.min()
    np.float64(1.0)
    """
    return survival_of(
        validated(ds, metric), metric, threshold, by, distinct, interval, ended, level=level
    )


def survival_of(
    whole: xr.Dataset,
    metric: str,
    threshold: float | Sequence[float] | None,
    by: str | Sequence[str] | None,
    distinct: bool,
    interval: Interval,
    ended: Ended,
    *,
    level: float = LEVEL,
) -> xr.Dataset:
    """Estimate survival, as `survival`, of a sweep that `validated` has returned."""
    if interval not in INTERVALS:
        raise UsageError(f"interval must be one of {', '.join(INTERVALS)}, got {interval!r}")
    lives = event_times(whole, metric, threshold, ended)
    spec = METRICS[metric]
    groups = group_cells(whole, by, whole[spec.flag].values == 1)
    observed, first = lives["end"] >= 0, first_of_repeats(whole, by)
    kept = observed & first if distinct else observed
    complete = kept & ~lives["died"] & ~lives["censored"]

    def count(counted: xr.DataArray, how: Tally = tallies.tally) -> xr.DataArray:
        return _count(how, lives["end"], counted, groups, spec, whole.sizes[spec.time])

    everyone, unrepeated = count(observed), count(observed & first)
    events = {name: count(lives[name] & kept) for name in EVENTS}
    at_risk, estimate, bounds = xr.apply_ufunc(
        curves,
        unrepeated if distinct else everyone,
        events["died"],
        count(kept, tallies.tally_sharing),
        input_core_dims=[[spec.time]] * 3,
        output_core_dims=[[spec.time], [spec.time], [spec.time, "ci_bound"]],
        kwargs={"interval": interval, "level": level},
        dask="parallelized",
        output_dtypes=[np.int64, np.float64, np.float64],
        dask_gufunc_kwargs={"output_sizes": {"ci_bound": 2}},
    )
    window = whole["window"].variable
    horizon = largest_window(window, observed.isel(threshold=0, drop=True), groups, spec)
    found = xr.Dataset(
        {
            "at_risk": at_risk,
            **events,
            "survival": estimate,
            "survival_ci": bounds,
            "n": everyone.isel(threshold=0, drop=True).sum(spec.time),
            "n_distinct": unrepeated.isel(threshold=0, drop=True).sum(spec.time),
            "n_prompts": _count_prompts(kept.isel(threshold=0, drop=True), groups, spec),
            "horizon": horizon,
            "observed_to": observed_to(
                estimate,
                at_risk,
                largest_window(window, complete, groups, spec),
                horizon,
                whole[spec.time].values,
                spec,
            ),
        },
        {
            spec.time: whole[spec.time],
            "ci_bound": ("ci_bound", ["lower", "upper"], {"level": level, "interval": interval}),
            **groups.labels,
        },
        {"metric": metric, "cells": "distinct" if distinct else "all", "ended": ended},
    )
    for name, long_name in LONG_NAMES.items():
        units = {} if name in found.coords else {"units": "1"}
        found[name].attrs = {"long_name": long_name, **units}
    return found


def survival_summary(
    ds: xr.Dataset,
    metric: str = "pmass_eval",
    threshold: float | Sequence[float] | None = None,
    by: str | Sequence[str] | None = None,
    distinct: bool = True,
    interval: Interval = "auto",
    ended: Ended = "censored",
) -> pd.DataFrame:
    """Summarise survival, with one row per threshold, group and dose.

    Parameters
    ----------
    ds, metric, threshold, by, distinct, interval, ended
        As for `isoklx.survival`.

    Returns
    -------
    DataFrame
        Rows are sorted by the first columns: ``threshold``, the labels that cells are grouped by,
        and ``alpha``. Only doses at which a group was run have a row. Further columns:

        n, n_distinct
            Trajectories: all of them, and without duplicates within their group. The columns below
            are computed from the latter, unless ``distinct=False``.
        n_prompts
            Prompts of these trajectories.
        died, censored, recovered
            Counts of trajectories. The others were alive at the end of their window.
        end_survival, end_lower, end_upper
            Survival at the end of the curve, `observed_to`, and its 95% interval. Rows are
            comparable if `observed_to` equals `horizon` and the horizons are equal.
        observed_to
            Token up to which the curve is known, as in `isoklx.survival`: `horizon`, or the last
            fork with a trajectory at risk.
        half_life_after, half_life_by
            The last fork with S > 0.5 and a trajectory at risk, and the first fork with S <= 0.5
            (equality to 1e-9): the median survival time is between the two. NaN without such a
            fork.
        restricted_mean, restricted_mean_earliest
            Restricted mean survival time in tokens: the area under the step curve up to `horizon`;
            NaN if the curve ends before. Death is observed at forks only. The first column assumes
            that it happened at the fork that shows it; the second, just after the fork before (at 0
            for the first fork), when trajectories last observed at that fork were still at risk.
            Without censoring the truth is between the two.
        horizon
            Largest window of the group's cells that were observed at the dose, in tokens.

    Raises
    ------
    DatasetError
        When `ds` is not a sweep, or no cell has the metric.
    UsageError
        For an unknown metric or label, or a threshold that is out of range.

    Examples
    --------
    >>> import isoklx
    >>> summary = survival_summary(isoklx.open_sweep("data/sample"), by="method")
    >>> list(summary.columns[:5])
    ['threshold', 'method', 'alpha', 'n', 'n_distinct']
    """
    found = survival(ds, metric, threshold, by, distinct, interval, ended).compute()
    if not found["n"].any():
        raise absent(metric)
    time = METRICS[metric].time
    bracket = xr.apply_ufunc(
        km.half_life,
        found["survival"],
        found["at_risk"],
        kwargs={"times": found[time].values},
        input_core_dims=[[time]] * 2,
        output_core_dims=[["bound"]],
    )
    bounds = at_end(found["survival_ci"], found)
    columns = {
        "n": found["n"],
        "n_distinct": found["n_distinct"],
        "n_prompts": found["n_prompts"],
        **{name: found[name].sum(time) for name in EVENTS},
        "end_survival": at_end(found["survival"], found),
        "end_lower": bounds.sel(ci_bound="lower", drop=True),
        "end_upper": bounds.sel(ci_bound="upper", drop=True),
        "observed_to": found["observed_to"],
        "half_life_after": bracket.isel(bound=0),
        "half_life_by": bracket.isel(bound=1),
        **restricted_means(found),
        "horizon": found["horizon"],
    }
    keys = [dim for dim in found["survival"].dims if dim != time]
    table = xr.Dataset(columns).to_dataframe(dim_order=keys)
    return table[table["n"] > 0].sort_index().reset_index()[[*keys, *columns]]


def _count(
    tally: Tally,
    end: xr.DataArray,
    counted: xr.DataArray,
    groups: Groups,
    spec: Metric,
    n_times: int,
) -> xr.DataArray:
    """Count trajectories by group and by the time at which they ended."""
    counts: xr.DataArray = xr.apply_ufunc(
        tally,
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


def _count_prompts(counted: xr.DataArray, groups: Groups, spec: Metric) -> xr.DataArray:
    """Count the prompts with a trajectory by group and dose."""
    counts: xr.DataArray = xr.apply_ufunc(
        tallies.count_units,
        counted,
        groups.code,
        input_core_dims=[spec.units, ["cell"]],
        output_core_dims=[[*groups.labels, spec.unit]],
        kwargs={"groups": groups.shape},
        dask="parallelized",
        output_dtypes=[np.int64],
        dask_gufunc_kwargs={
            "output_sizes": {**_sizes(groups), spec.unit: counted.sizes[spec.unit]},
            "allow_rechunk": True,
        },
    )
    return (counts > 0).sum(spec.unit).transpose(*groups.labels, "alpha")


def _sizes(groups: Groups) -> dict[str, int]:
    return dict(zip(groups.labels, groups.shape, strict=True))
