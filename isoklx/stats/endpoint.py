"""Event and censoring times of each trajectory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import xarray as xr

from isoklx import schema
from isoklx.errors import DatasetError, UsageError
from isoklx.stats.groups import Groups
from isoklx.stats.kernels import kaplan_meier as km
from isoklx.stats.kernels import tallies
from isoklx.stats.kernels.tallies import EventTimes, first_crossing
from isoklx.stats.selection import restore_dims

Ended = Literal["censored", "alive"]
"""State of a rollout after it ended, alive, before its window: unknown (censored) or alive."""


@dataclass(frozen=True)
class Metric:
    """Variable that defines death, and its dimensions and thresholds."""

    time: str
    """Dimension of time: fork or token."""
    unit: str
    """Dimension of rollouts within a cell: prompt or question."""
    length: str
    """Variable with the number of generated tokens."""
    flag: str
    """Variable that marks the cells that may have the metric."""
    dead: Callable[..., Any]
    """Comparison ``dead(value, threshold)`` that means death."""
    default: tuple[float, ...]
    """Default thresholds; empty if a threshold must be given."""
    largest: float
    """Largest valid threshold; the smallest is above 0."""

    @property
    def units(self) -> tuple[str, str]:
        """Dimensions that identify a trajectory at a dose."""
        return "cell", self.unit

    def last_probe(self, times: npt.NDArray[Any], horizon: Any) -> npt.NDArray[Any]:
        """Return the last time up to a horizon at which a trajectory can be observed."""
        # KL is observed at every token, but the token axis ends with the longest rollout.
        if self.time == "token":
            return np.asarray(horizon) - 1
        last = np.searchsorted(times, np.asarray(horizon), side="right") - 1
        found: npt.NDArray[Any] = times[np.maximum(last, 0)]
        return found


METRICS = {
    "pmass_eval": Metric("fork", "prompt", "gen_len", "has_pmass", np.less, (0.75,), 1),
    "pmass": Metric("fork", "question", "gen_len_qa", "has_pmass", np.less, (0.75,), 1),
    "kl": Metric("token", "prompt", "gen_len", "has_kl", np.greater_equal, (), np.inf),
}

OTHER_PMASS = {"pmass_eval": "pmass", "pmass": "pmass_eval"}


def lifetimes(
    ds: xr.Dataset,
    metric: str = "pmass_eval",
    threshold: float | Sequence[float] | None = None,
    ended: Ended = "censored",
) -> xr.Dataset:
    """Find the event time of each trajectory: its death, or its last observation.

    Fields of `EventTimes` along ``threshold``, ``cell``, ``alpha`` and the metric's unit. Observed
    are the values that are not NaN up to the recorded length, or anywhere if that is NaN.
    """
    return event_times(validated(ds, metric), metric, threshold, ended)


def event_times(
    ds: xr.Dataset,
    metric: str,
    threshold: float | Sequence[float] | None = None,
    ended: Ended = "censored",
) -> xr.Dataset:
    """Find event times, as `lifetimes`, of a sweep that `validated` has returned."""
    if ended not in get_args(Ended):
        raise UsageError(f"ended must be one of {', '.join(get_args(Ended))}, got {ended!r}")
    spec = METRICS[metric]
    thresholds = checked_thresholds(metric, threshold)
    found = xr.apply_ufunc(
        _stacked_event_times,
        ds[metric],
        ds[spec.length],
        ds["window"],
        input_core_dims=[[spec.time], [], []],
        output_core_dims=[["threshold", "field"]],
        kwargs={
            "times": ds[spec.time].values,
            "offset": -1 if spec.time == "token" else 0,
            "thresholds": thresholds,
            "dead": spec.dead,
            "ended_alive": ended == "alive",
        },
        dask="parallelized",
        output_dtypes=[np.int32],
        dask_gufunc_kwargs={
            "output_sizes": {"threshold": len(thresholds), "field": len(EventTimes._fields)},
            "allow_rechunk": True,
        },
    )
    if found.chunks is not None:
        # A few bytes per trajectory: one chunk costs less than scheduling many.
        found = found.chunk(dict.fromkeys(found.dims, -1))
    found = found.transpose("field", "threshold", "cell", "alpha", spec.unit)
    lives = xr.Dataset(
        {
            name: found.isel(field=i) if name == "end" else found.isel(field=i) == 1
            for i, name in enumerate(EventTimes._fields)
        }
    )
    return lives.assign_coords(threshold=thresholds)


def validated(ds: xr.Dataset, metric: str) -> xr.Dataset:
    """Restore all dimensions of a sweep, and set the metric's flag where a cell has values."""
    spec = metric_of(metric)
    schema.require(ds, [metric, spec.time, spec.length, spec.flag, "run_id", "window"])
    ds = restore_dims(ds)
    has = cells_with(ds, metric)
    if not has.any():
        other = OTHER_PMASS.get(metric, "")
        raise absent(metric, other if other in ds and cells_with(ds, other).any() else "")
    # At an unpaired dose the recorded length may be that of another rollout.
    if "unpaired" in ds and spec.unit == "prompt":
        ds = ds.assign({spec.length: ds[spec.length].where(ds["unpaired"] == 0)})
    return ds.assign({spec.flag: ds[spec.flag].copy(data=has.astype(np.int8))})


def metric_of(name: str) -> Metric:
    """Return a metric, or raise UsageError that lists the known ones."""
    if name not in METRICS:
        raise UsageError(f"metric {name!r} not found; available: {', '.join(METRICS)}")
    return METRICS[name]


def absent(metric: str, instead: str = "") -> DatasetError:
    """Return the error for a sweep without a metric."""
    available = f"; available metric: {instead}" if instead else ""
    return DatasetError(f"no cell of this sweep has {metric}{available}")


def cells_with(ds: xr.Dataset, metric: str) -> npt.NDArray[np.bool_]:
    """Mark the cells that have a metric; the flag of KL, which is large, is not verified."""
    spec = METRICS[metric]
    has = np.array(ds[spec.flag].values == 1) & bool(ds[metric].size)
    if metric in OTHER_PMASS and has.any():
        # pmass and pmass_eval share one flag.
        has &= ds[metric].notnull().any([spec.time, spec.unit, "alpha"]).values
    return has


def _stacked_event_times(*args: Any, **kwargs: Any) -> npt.NDArray[np.int32]:
    """Stack the fields into one array: dask schedules a task per array and chunk."""
    return np.stack(first_crossing(*args, **kwargs), axis=-1)


def checked_thresholds(metric: str, threshold: float | Sequence[float] | None) -> list[float]:
    """Return valid thresholds of a metric, by default its own; raise UsageError for others."""
    spec = metric_of(metric)
    if threshold is None:
        if not spec.default:
            raise UsageError(f"metric {metric!r} has no default threshold; give one, in nats")
        return list(spec.default)
    try:
        thresholds = [float(each) for each in np.atleast_1d(np.asarray(threshold, dtype=float))]
    except (TypeError, ValueError):
        raise UsageError(f"threshold must be a number, got {threshold!r}") from None
    for each in thresholds:
        if not 0 < each <= min(spec.largest, float(np.finfo(np.float32).max)):
            allowed = "above 0, in nats" if spec.largest == np.inf else "in (0, 1]"
            raise UsageError(f"threshold of {metric} must be {allowed}, got {each:g}")
    if len(set(thresholds)) < len(thresholds) or not thresholds:
        raise UsageError(f"thresholds must be unique and at least one, got {threshold!r}")
    return thresholds


def largest_window(
    window: xr.Variable, counted: xr.DataArray, groups: Groups, spec: Metric
) -> xr.DataArray:
    """Find the largest window of cells with a counted trajectory by group and dose; 0 without."""
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
    """Find the token up to which each curve is known."""
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
    """Return restricted mean survival time up to the horizon, and its earliest bracket."""
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
    """Reduce survival, or a bound, up to the horizon; NaN where the curve ends before it."""
    found = _reduced(kernel, values, curves)
    return found.where(curves["observed_to"] >= curves["horizon"])


def at_end(values: xr.DataArray, curves: xr.Dataset) -> xr.DataArray:
    """Return survival, or a bound, where the curve ends: at ``observed_to``."""
    return _reduced(km.at_horizon, values, curves)


def _reduced(kernel: Callable[..., Any], values: xr.DataArray, curves: xr.Dataset) -> xr.DataArray:
    time = METRICS[curves.attrs["metric"]].time
    found: xr.DataArray = xr.apply_ufunc(
        _carried_forward,
        values,
        curves[time].variable,
        curves["horizon"],
        input_core_dims=[[time], [time], []],
        kwargs={"kernel": kernel},
        dask="parallelized",
        output_dtypes=[np.float64],
    )
    return found


def _carried_forward(values: Any, times: Any, horizon: Any, *, kernel: Callable[..., Any]) -> Any:
    """Apply a kernel after carrying the last known value forward to the horizon."""
    return kernel(km.carry_forward(values), times, horizon)
