"""What a dose does: everything that is measured, along alpha, each with its interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from isoklx import schema
from isoklx.stats.along import positive, whole_along
from isoklx.stats.groups import Groups, group_cells
from isoklx.stats.horizon import restricted_means, up_to_horizon
from isoklx.stats.kernels import clusters
from isoklx.stats.kernels import kaplan_meier as km
from isoklx.stats.kernels.curves import Interval
from isoklx.stats.lifetimes import METRICS, Ended, measured
from isoklx.stats.repeats import first_of_repeats
from isoklx.stats.survival import LEVEL, survival_of
from isoklx.stats.targets import above_target

Estimate = tuple[xr.DataArray, xr.DataArray]
"""Of a number, and its interval along ``ci_bound``."""

LONG_NAMES = {
    "survival": "Kaplan-Meier survival at the horizon",
    "restricted_mean": "restricted mean survival time in tokens, deaths as late as can be",
    "restricted_mean_earliest": "restricted mean survival time in tokens, deaths as early",
    "kl_p95": "p95 of KL(steered || base) over all tokens",
    "share_above": "share of tokens with KL above target_kl",
    "pmass": "mean probability mass on the two answers, over forks",
    "pmass_end": "mean probability mass on the two answers, at the last fork of each trajectory",
    "effect": "mean difference in p_true to the smallest dose, over questions",
    "repetition": "mean of the worst share of repeated 3-grams",
}


def dose_response(
    ds: xr.Dataset,
    by: str | Sequence[str] | None = "method",
    metric: str = "pmass_eval",
    threshold: float | Sequence[float] | None = None,
    distinct: bool = True,
    interval: Interval = "auto",
    ended: Ended = "censored",
) -> xr.Dataset:
    """Sum up all that was measured along alpha, each with its interval.

    Parameters
    ----------
    ds : Dataset
        A sweep or any selection of it.
    by : str or sequence of str, optional
        As for `isoklx.survival`: groups are those of the cells that have the metric.
    metric, threshold, distinct, interval, ended
        As for `isoklx.survival`.

    Returns
    -------
    Dataset
        Dimensions the labels of groups and ``alpha``, and for survival ``threshold``; float64, lazy
        where `ds` is. Each variable has beside it another one with the suffix ``_ci``, its 95%
        interval along ``ci_bound`` = lower, upper. NaN where nothing was measured.

        survival
            At the last fork up to ``horizon``, as of `isoklx.survival`.
        restricted_mean, restricted_mean_earliest
            As of `isoklx.survival_summary`, in tokens. The interval goes from the area under the
            lower bound with deaths as early as the forks allow to that under the upper bound with
            deaths as late, and allows for both.
        kl_p95
            p95 of KL over all tokens of all trajectories, in nats.
        share_above
            Share of all tokens with KL above ``target_kl``.
        pmass
            Mean over trajectories of their mean ``pmass_eval`` at forks, or of ``pmass`` with that
            `metric`.
        pmass_end
            Mean over trajectories of the same at the last fork at which each was asked.
        effect
            Mean over questions of ``p_true`` minus that of the same question and fork at alpha 0,
            or at the smallest dose where 0 is not among them.
        repetition
            Mean over trajectories; NaN throughout where the sweep has none.
        n, n_distinct, n_prompts, horizon
            As of `isoklx.survival`.

    Raises
    ------
    DatasetError, UsageError
        As `isoklx.survival` does.

    Notes
    -----
    All intervals but those of survival are over prompts (questions for the effect), whose tokens
    resemble each other: shares and means between 0 and 1 by Korn and Graubard (1998), the p95 by
    Woodruff (1952), the effect by Student's t. They are NaN of a single prompt.

    Memory: the p95 of a dose takes all KL of a group's cells at that dose at once.

    Examples
    --------
    >>> import isoklx
    >>> doses = dose_response(isoklx.open_sweep("data/sample"))
    >>> doses.share_above.dims, doses.share_above_ci.dims
    (('method', 'alpha'), ('method', 'alpha', 'ci_bound'))
    """
    whole = measured(ds, metric)
    curves = survival_of(whole, metric, threshold, by, distinct, interval, ended)
    schema.require(whole, ["kl", "target_kl", "p_true", "token", "question"])
    group = _Grouped.of(whole, by, metric, distinct=distinct)
    answers, unit = ("pmass", "question") if metric == "pmass" else ("pmass_eval", "prompt")
    above, there = above_target(whole).sum("token"), whole["kl"].notnull().sum("token")
    latest, earliest = restricted_means(curves).values()
    estimates = {
        **_survival(curves, latest),
        "kl_p95": group.quantile(whole["kl"], 0.95),
        "share_above": group.mean(clusters.share, above, there, "prompt"),
        "pmass": group.mean(clusters.share, *_each_once(whole[answers]), unit),
        "pmass_end": group.mean(clusters.share, *_each_once(_last_asked(whole[answers])), unit),
        "effect": group.effect(whole["p_true"]),
        "repetition": group.mean(clusters.share, *_each_once(_repetition(whole)), "prompt"),
    }
    found: dict[str, xr.DataArray] = {}
    for name, (estimate, bounds) in estimates.items():
        found |= {name: estimate, f"{name}_ci": bounds}
        if name == "restricted_mean":
            found |= {"restricted_mean_earliest": earliest}
    for name, da in found.items():
        of = "interval of " if name.endswith("_ci") else ""
        da.attrs = {"long_name": of + LONG_NAMES[name.removesuffix("_ci")], "units": "1"}
    counts = curves[["n", "n_distinct", "n_prompts", "horizon"]]
    return counts.assign(found).assign_attrs(curves.attrs)


@dataclass(frozen=True)
class _Grouped:
    """Sums up what was measured, group by group and dose by dose."""

    groups: Groups
    present: npt.NDArray[np.bool_]
    first: xr.DataArray | None

    @classmethod
    def of(
        cls, ds: xr.Dataset, by: str | Sequence[str] | None, metric: str, *, distinct: bool
    ) -> _Grouped:
        present = ds[METRICS[metric].flag].values == 1
        first = first_of_repeats(ds, by) if distinct else None
        return cls(group_cells(ds, by, present), present, first)

    def mean(
        self, kernel: Callable[..., Any], total: xr.DataArray, count: xr.DataArray, unit: str
    ) -> Estimate:
        """Mean and interval, from sums and numbers of values by cell, dose and unit."""
        pooled = [self._sum(total), self._sum(count)]
        return self._estimate(partial(kernel, level=LEVEL), pooled, [unit])

    def effect(self, p_true: xr.DataArray) -> Estimate:
        """Mean over questions of the difference to alpha 0 or the smallest dose, fork by fork."""
        alphas = p_true["alpha"].values
        # Which cell a rerun of a dose repeats decides nothing: the base is that of the group.
        pooled = self._sum(p_true.fillna(0.0)) / self._sum(p_true.notnull()).pipe(positive)
        if alphas.size:
            nearest = int(np.abs(alphas).argmin())
            pooled = pooled - pooled.isel(alpha=nearest if alphas[nearest] == 0 else 0, drop=True)
        kernel = partial(clusters.mean, level=LEVEL)
        return self._estimate(kernel, [*_each_once(pooled)], ["question"])

    def _sum(self, da: xr.DataArray) -> xr.DataArray:
        """Sum over the cells of each group, what repeats left out."""
        once = da if self.first is None else da * self.first
        summed: xr.DataArray = xr.dot(self._members, once.astype(np.float64), dim="cell")
        return summed

    def quantile(self, da: xr.DataArray, q: float) -> Estimate:
        """Quantile over all tokens of the cells of each group, and its interval."""
        kernel = partial(_pooled_quantile, q=q)
        da = da if self.first is None else da.where(self.first)
        along = ["prompt", "cell", "token"]
        found = []
        for i in range(math.prod(self.groups.shape)):
            cells = np.flatnonzero(self.present & (self.groups.code.values == i))
            found.append(self._estimate(kernel, [whole_along(da.isel(cell=cells), along)], along))
        joined = (xr.concat(each, "group") for each in zip(*found, strict=True))
        return tuple(self._by_label(each) for each in joined)  # type: ignore[return-value]

    def _estimate(
        self, kernel: Callable[..., Any], values: list[xr.DataArray], along: list[str]
    ) -> Estimate:
        found: xr.DataArray = xr.apply_ufunc(
            kernel,
            *values,
            input_core_dims=[along] * len(values),
            output_core_dims=[["number"]],
            dask="parallelized",
            output_dtypes=[np.float64],
            dask_gufunc_kwargs={"output_sizes": {"number": 3}, "allow_rechunk": True},
        )
        bounds = found.isel(number=slice(1, 3)).rename(number="ci_bound")
        return found.isel(number=0), bounds

    @property
    def _members(self) -> xr.DataArray:
        """1 where a cell is of a group, else 0; along the labels and ``cell``."""
        flat = np.arange(math.prod(self.groups.shape))[:, np.newaxis]
        members = (self.groups.code.values == flat) & self.present
        shape = (*self.groups.shape, self.present.size)
        dims = (*self.groups.labels, "cell")
        return xr.DataArray(members.reshape(shape).astype(float), self.groups.labels, dims)

    def _by_label(self, da: xr.DataArray) -> xr.DataArray:
        """An array along ``group``, a dimension for each label instead."""
        da = da.transpose("group", ...)
        data = da.data.reshape(*self.groups.shape, *da.shape[1:])
        dims = (*self.groups.labels, *da.dims[1:])
        labels = {name: da[name].variable for name in da.dims[1:] if name in da.coords}
        return xr.DataArray(data, {**self.groups.labels, **labels}, dims)


def _pooled_quantile(samples: npt.NDArray[Any], q: float) -> npt.NDArray[np.float64]:
    """Of samples (..., prompt, cell, token)."""
    pooled = samples.reshape(*samples.shape[:-2], samples.shape[-2] * samples.shape[-1])
    return clusters.pooled_quantile(pooled, q, level=LEVEL)


def _survival(curves: xr.Dataset, restricted_mean: xr.DataArray) -> dict[str, Estimate]:
    """Survival at the horizon, and the restricted mean up to it, each with its interval."""
    bounds = curves["survival_ci"]
    lower, upper = (bounds.sel(ci_bound=[bound]) for bound in ("lower", "upper"))
    areas = xr.concat(
        [
            up_to_horizon(km.earliest_restricted_mean, lower, curves),
            up_to_horizon(km.restricted_mean, upper, curves),
        ],
        "ci_bound",
    )
    return {
        "survival": (
            up_to_horizon(km.at_horizon, curves["survival"], curves),
            up_to_horizon(km.at_horizon, bounds, curves),
        ),
        "restricted_mean": (restricted_mean, areas),
    }


def _each_once(da: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """The mean over forks of each trajectory or question, 0 without one, and whether it has one."""
    over = [dim for dim in da.dims if dim == "fork"]
    count = da.notnull().sum(over)
    # Over no dimension, xarray's sum keeps NaN.
    return da.fillna(0.0).sum(over, dtype=np.float64) / count.clip(1), (count > 0).astype(int)


def _last_asked(answers: xr.DataArray) -> xr.DataArray:
    """Of each trajectory what it answered last; NaN where it was never asked."""
    if not answers.sizes["fork"]:  # an empty axis has no maximum
        return answers.sum("fork", min_count=1)
    place = xr.DataArray(np.arange(1, answers.sizes["fork"] + 1), dims="fork")
    last = (answers.notnull() * place).max("fork")
    return answers.where(place == last).sum("fork", min_count=1)


def _repetition(ds: xr.Dataset) -> xr.DataArray:
    if "repetition" in ds:
        return ds["repetition"]
    return xr.full_like(ds["gen_len"], np.nan, dtype=np.float32)
