"""When each trajectory died, or was last seen alive: the ground that survival stands on."""

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
"""What a rollout that ended before its window, and did not die, says of the rest of it."""


@dataclass(frozen=True)
class Metric:
    """What a trajectory's death is read from.

    Parameters
    ----------
    time, unit : str
        Dimensions: where it was measured, and of what within a cell.
    length : str
        The variable that says how many tokens were generated.
    flag : str
        The variable that says which cells may have it.
    dead : callable
        Whether a value, compared with a threshold, means death.
    default : tuple of float
        Default thresholds; empty where none can be meant without being said.
    largest : float
        Largest threshold that means anything; all are above 0.
    """

    time: str
    unit: str
    length: str
    flag: str
    dead: Callable[..., Any]
    default: tuple[float, ...]
    largest: float

    @property
    def units(self) -> tuple[str, str]:
        """Dimensions that a trajectory is identified by, within a dose."""
        return "cell", self.unit

    def last_probe(self, times: npt.NDArray[Any], horizon: Any) -> npt.NDArray[Any]:
        """Last time up to a horizon at which a trajectory can be observed.

        KL is observed at every token, whether or not a rollout got there; the token axis ends with
        the longest rollout.
        """
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
    """Find when each trajectory died, or was last observed.

    Parameters
    ----------
    ds : Dataset
        A sweep or any selection of it.
    metric : {"pmass_eval", "pmass", "kl"}
        A trajectory is dead from the first fork with pmass below the threshold, or from the first
        token with KL at the threshold or above (so that the running maximum reaches it).
    threshold : float or sequence of float, optional
        In (0, 1] for pmass, by default 0.75; in nats for KL, without a default: the calibration's
        target is crossed by one token in twenty of a sound rollout, and no other KL is agreed on.
    ended : {"censored", "alive"}
        Whether a rollout that ended before its window, not dead, is last seen where it ended, or
        counts as seen alive to the end of it.

    Returns
    -------
    Dataset
        Dimensions ``threshold``, ``cell``, ``alpha`` and ``prompt`` (``question`` for pmass); lazy
        where `ds` is. Thresholds are compared in the metric's own precision.

        end : int32
            Index along ``fork`` (``token``) of the death, else of the last observation; -1 where
            there is none at all, as where the dose was not run. Observed is what is not NaN at
            forks up to ``gen_len`` and at tokens before it, and anywhere where that is NaN or, of
            prompts, the dose is ``unpaired`` (it may then be another rollout's).
        died : bool
            Whether `end` is a death.
        recovered : bool
            Whether it died and was observed on the living side of the threshold later.
        censored : bool
            Whether it did not die and its rollout ended before the cell's window. Where
            ``gen_len`` is NaN, the rollout is taken to have ended at its last observation. Nobody
            is with ``ended="alive"``.

    Raises
    ------
    DatasetError
        When `ds` is not a sweep, or no cell has the metric.
    UsageError
        For an unknown metric, another word for `ended`, or a threshold that is out of range,
        repeated, or missing for KL.

    Examples
    --------
    >>> import isoklx
    >>> ds = isoklx.open_sweep("data/sample")
    >>> lives = lifetimes(ds, threshold=[0.5, 0.75])
    >>> lives.died.dims
    ('threshold', 'cell', 'alpha', 'prompt')
    """
    return event_times(validated(ds, metric), metric, threshold, ended)


def event_times(
    ds: xr.Dataset,
    metric: str,
    threshold: float | Sequence[float] | None = None,
    ended: Ended = "censored",
) -> xr.Dataset:
    """As `lifetimes`, of a sweep that `validated` has given: it looks at pmass but once.

    Raises
    ------
    UsageError
        For another word for `ended`, or a threshold that is out of range, repeated, or missing for
        KL.
    """
    if ended not in get_args(Ended):
        raise UsageError(f"ended {ended!r}: give one of {', '.join(get_args(Ended))}")
    spec = METRICS[metric]
    thresholds = checked_thresholds(metric, threshold)
    fates = xr.apply_ufunc(
        _stacked_fates,
        ds[metric],
        ds[spec.length],
        ds["window"],
        input_core_dims=[[spec.time], [], []],
        output_core_dims=[["threshold", "fate"]],
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
            "output_sizes": {"threshold": len(thresholds), "fate": len(EventTimes._fields)},
            "allow_rechunk": True,
        },
    )
    if fates.chunks is not None:
        # A few bytes a trajectory from here on: one chunk costs less than keeping track of many.
        fates = fates.chunk(dict.fromkeys(fates.dims, -1))
    fates = fates.transpose("fate", "threshold", "cell", "alpha", spec.unit)
    lives = xr.Dataset(
        {
            name: fates.isel(fate=i) if name == "end" else fates.isel(fate=i) == 1
            for i, name in enumerate(EventTimes._fields)
        }
    )
    return lives.assign_coords(threshold=thresholds)


def validated(ds: xr.Dataset, metric: str) -> xr.Dataset:
    """Give a sweep all dimensions of a metric, and say which cells have it.

    Parameters
    ----------
    ds, metric
        As for `lifetimes`.

    Returns
    -------
    Dataset
        `ds` with the dimensions of the schema, and the metric's flag (``has_kl``, ``has_pmass``) 1
        where the cell has a number of this very metric. Of KL, which is large, the flag is believed
        as it is.

    Raises
    ------
    DatasetError
        When `ds` is not a sweep, or no cell has the metric.
    UsageError
        For an unknown metric.

    Examples
    --------
    >>> import isoklx
    >>> validated(isoklx.open_sweep("data/sample"), "pmass").has_pmass.sum().item()
    12
    """
    spec = metric_of(metric)
    schema.require(ds, [metric, spec.time, spec.length, spec.flag, "run_id", "window"])
    ds = restore_dims(ds)
    has = cells_with(ds, metric)
    if not has.any():
        other = OTHER_PMASS.get(metric, "")
        raise absent(metric, other if other in ds and cells_with(ds, other).any() else "")
    if "unpaired" in ds and spec.unit == "prompt":
        ds = ds.assign({spec.length: ds[spec.length].where(ds["unpaired"] == 0)})
    return ds.assign({spec.flag: ds[spec.flag].copy(data=has.astype(np.int8))})


def metric_of(name: str) -> Metric:
    """Look up a metric.

    Raises
    ------
    UsageError
        For an unknown one; the message lists those that there are.
    """
    if name not in METRICS:
        raise UsageError(f"unknown metric {name!r}; give one of {', '.join(METRICS)}")
    return METRICS[name]


def absent(metric: str, instead: str = "") -> DatasetError:
    """What is raised where there is nothing to read death from."""
    there = f"; it has the metric {instead}" if instead else ""
    return DatasetError(f"no cell of this sweep has {metric}{there}")


def cells_with(ds: xr.Dataset, metric: str) -> npt.NDArray[np.bool_]:
    """Tell which cells of a sweep, with all its dimensions, have a metric; as `validated` does."""
    spec = METRICS[metric]
    has = np.array(ds[spec.flag].values == 1) & bool(ds[metric].size)
    if metric in OTHER_PMASS and has.any():
        # One flag is of both.
        has &= ds[metric].notnull().any([spec.time, spec.unit, "alpha"]).values
    return has


def _stacked_fates(*args: Any, **kwargs: Any) -> npt.NDArray[np.int32]:
    """One array instead of four, as each costs dask a task a chunk."""
    return np.stack(first_crossing(*args, **kwargs), axis=-1)


def checked_thresholds(metric: str, threshold: float | Sequence[float] | None) -> list[float]:
    """The thresholds of a metric, its own by default.

    Raises
    ------
    UsageError
        When one is out of range, given twice or no number, or there is no default; and for an
        unknown metric.
    """
    spec = metric_of(metric)
    if threshold is None:
        if not spec.default:
            raise UsageError(f"metric {metric!r} has no default threshold; give one, in nats")
        return list(spec.default)
    try:
        thresholds = [float(each) for each in np.atleast_1d(np.asarray(threshold, dtype=float))]
    except (TypeError, ValueError):
        raise UsageError(f"threshold {threshold!r} is not a number") from None
    for each in thresholds:
        if not 0 < each <= min(spec.largest, float(np.finfo(np.float32).max)):
            allowed = "above 0, in nats" if spec.largest == np.inf else "in (0, 1]"
            raise UsageError(f"threshold {each:g} for {metric}: give one {allowed}")
    if len(set(thresholds)) < len(thresholds) or not thresholds:
        raise UsageError(f"threshold {threshold!r}: give each threshold once, and at least one")
    return thresholds


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
