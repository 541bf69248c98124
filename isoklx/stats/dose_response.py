"""Dose response: every measured quantity along alpha, with its interval."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from isoklx import schema
from isoklx.stats.answer_changes import answer_changes
from isoklx.stats.endpoint import METRICS, Ended, restricted_means, up_to_horizon, validated
from isoklx.stats.heldout import heldout_kl, statistics
from isoklx.stats.kernels import clusters
from isoklx.stats.kernels import kaplan_meier as km
from isoklx.stats.kernels.kaplan_meier import Interval
from isoklx.stats.pooled import Estimate, Pooled, without_labels
from isoklx.stats.selection import with_absent
from isoklx.stats.survival import LEVEL, survival_of
from isoklx.stats.targets import above_target

LONG_NAMES = {
    "survival": "Kaplan-Meier survival at the horizon",
    "restricted_mean": "restricted mean survival time in tokens, latest deaths",
    "restricted_mean_earliest": "restricted mean survival time in tokens, earliest deaths",
    "heldout_kl": "target_stat of KL(steered || base) over all held-out tokens",
    "kl_p95": "p95 of KL(steered || base) over all tokens",
    "share_above": "share of tokens with KL above target_kl",
    "pmass": "mean probability mass on the two answers, over forks",
    "pmass_end": "mean probability mass on the two answers, at the last fork of each trajectory",
    "acquiescence": "change of the share of true from alpha 0, mean over questions",
    "correct": "change of the share of the recorded answer from alpha 0, macro average over true "
    "and false",
    "repetition": "mean of the worst share of repeated 3-grams",
    "at_risk": "trajectories at risk at the horizon",
    "mean_length": "mean number of tokens generated",
    "share_ended": "share of trajectories that ended before the window",
    "coeff_min": "smallest coefficient of the group's cells",
    "coeff_max": "largest coefficient of the group's cells",
    "acquiescence_n_cells": "cells behind acquiescence",
    "acquiescence_n_questions": "questions behind acquiescence",
    "correct_n_cells": "cells behind correct",
    "correct_n_questions": "questions behind correct",
}


def dose_response(
    ds: xr.Dataset,
    by: str | Sequence[str] | None = "method",
    metric: str = "pmass_eval",
    threshold: float | Sequence[float] | None = None,
    distinct: bool = True,
    interval: Interval = "auto",
    ended: Ended = "censored",
    *,
    level: float = LEVEL,
) -> xr.Dataset:
    """Estimate every measured quantity along alpha, with its interval.

    Parameters
    ----------
    ds : Dataset
        A sweep or any selection of it.
    by : str or sequence of str, optional
        As for `isoklx.survival`; groups are formed from the cells that have the metric.
    metric, threshold, distinct, interval, ended
        As for `isoklx.survival`.
    level : float
        Confidence of the intervals of survival and of the restricted mean. At 0.9 each of their
        bounds holds with 95% confidence, as in `isoklx.safe_dose`.

    Returns
    -------
    Dataset
        Float64, along the labels of groups and ``alpha``, and for survival ``threshold``; lazy
        where `ds` is. NaN where nothing was measured. A variable with the suffix ``_ci`` holds the
        95% interval of each variable along ``ci_bound`` = lower, upper, unless noted as "no
        interval".

        survival
            At the last fork up to ``horizon``, as in `isoklx.survival`.
        restricted_mean, restricted_mean_earliest
            As in `isoklx.survival_summary`, in tokens. The interval runs from the area under the
            lower bound, with deaths as early as the forks allow, to the area under the upper bound,
            with deaths as late as they allow.
        heldout_kl
            ``target_stat`` of KL over all tokens of all trajectories, in nats. Two groups at one
            alpha are comparable only if it is equal. The attribute ``target_stat`` names the
            statistic. NaN for a group whose cells were calibrated by different ones ("several").
        kl_p95
            p95 of KL over all tokens of all trajectories, in nats.
        share_above
            Share of all tokens with KL above ``target_kl``.
        pmass
            Mean over trajectories of their mean ``pmass_eval`` at forks, or of ``pmass`` with that
            `metric`.
        pmass_end
            Mean over trajectories of the same probability at each trajectory's last fork.
        acquiescence
            Change of the share of "true" (``p_true``) from alpha 0, in units of probability:
            the difference from alpha 0 of the same cell, question and fork, averaged over forks,
            then over distinct cells per question, then over the questions that all these cells
            have. NaN without alpha 0. Measures a bias to "true".
        correct
            The same change for the recorded answer, as a macro average: the mean of two means, over
            questions whose answer is true and over questions whose answer is false. A bias to
            "true" cancels. NaN unless both answers are recorded.
        acquiescence_n_cells, acquiescence_n_questions, correct_n_cells, correct_n_questions
            Number of distinct cells (run at alpha 0) and questions in these means; no interval.
        repetition
            Mean over trajectories; NaN for a sweep without repetition.
        at_risk
            Trajectories at risk at the last fork up to the horizon; no interval.
        mean_length, share_ended
            Mean number of tokens generated, and share of trajectories that ended before the window;
            no interval.
        coeff_min, coeff_max
            Smallest and largest alpha * c_star of the group's cells that were run at the dose; no
            interval.
        n, n_distinct, n_prompts, horizon
            As in `isoklx.survival`.

    Raises
    ------
    DatasetError, UsageError
        As `isoklx.survival` does.

    Notes
    -----
    All intervals except those of survival and restricted means are at 95%, with prompts as clusters
    of correlated tokens (questions for acquiescence and correct). Methods: Korn and Graubard (1998)
    for shares and means between 0 and 1, Woodruff (1952) for the p95, Student's t for a mean or rms
    of KL and for acquiescence, Welch's t for correct. NaN for a single prompt or question.

    Memory: the p95 of a dose loads all KL of a group's cells at that dose at once.

    Examples
    --------
    >>> import isoklx
    >>> doses = dose_response(isoklx.open_sweep("data/sample"))
    >>> doses.share_above.dims, doses.share_above_ci.dims
    (('method', 'alpha'), ('method', 'alpha', 'ci_bound'))
    """
    whole = with_absent(validated(ds, metric), ["answer"])
    curves = survival_of(whole, metric, threshold, by, distinct, interval, ended, level=level)
    schema.require(whole, ["kl", "target_kl", "p_true", "token", "question"])
    pooled = Pooled.of(whole, by, metric, distinct=distinct)
    answers, unit = ("pmass", "question") if metric == "pmass" else ("pmass_eval", "prompt")
    above, there = above_target(whole).sum("token"), whole["kl"].notnull().sum("token")
    latest, earliest = restricted_means(curves).values()
    kl_p95 = pooled.quantile(whole["kl"], 0.95)
    stats = statistics(whole, pooled)
    estimates = {
        **_survival(curves, latest),
        "heldout_kl": kl_p95 if set(stats) == {"p95"} else heldout_kl(whole, pooled),
        "kl_p95": kl_p95,
        "share_above": pooled.mean(clusters.share, above, there, "prompt"),
        "pmass": pooled.mean(clusters.share, *_mean_over_forks(whole[answers]), unit),
        "pmass_end": pooled.mean(
            clusters.share, *_mean_over_forks(_at_last_fork(whole[answers])), unit
        ),
        "repetition": pooled.mean(clusters.share, *_mean_over_forks(_repetition(whole)), "prompt"),
    }
    found: dict[str, xr.DataArray] = {}
    for name, (estimate, bounds) in estimates.items():
        found |= {name: estimate, f"{name}_ci": bounds}
        if name == "restricted_mean":
            found |= {"restricted_mean_earliest": earliest}
    changes = answer_changes(whole["p_true"], whole["answer"], pooled)
    found |= {str(name): da for name, da in changes.items()}
    found |= _described(whole, curves, pooled, metric)
    for name, da in found.items():
        of = "interval of " if name.endswith("_ci") else ""
        da.attrs = {"long_name": of + LONG_NAMES[name.removesuffix("_ci")], "units": "1"}
    for name in ("survival_ci", "restricted_mean_ci"):
        found[name].attrs["level"] = level
    found["heldout_kl"].attrs["target_stat"] = ", ".join(sorted(set(stats)))
    counts = curves[["n", "n_distinct", "n_prompts", "horizon"]]
    return counts.assign(found).assign_attrs(curves.attrs)


def _described(
    ds: xr.Dataset, curves: xr.Dataset, pooled: Pooled, metric: str
) -> dict[str, xr.DataArray]:
    """Describe the trajectories and coefficients of each group and dose, without intervals."""
    spec = METRICS[metric]
    length = ds[spec.length]
    ended = (length < ds["window"]).where(length.notnull())
    ran = (pooled.members > 0) & without_labels(length.notnull().any(spec.unit))
    coeff = ds["alpha"] * without_labels(ds["c_star"])
    return {
        "at_risk": up_to_horizon(km.at_horizon, curves["at_risk"], curves),
        "mean_length": pooled.plain_mean(length),
        "share_ended": pooled.plain_mean(ended),
        "coeff_min": coeff.where(ran).min("cell").transpose(..., "alpha"),
        "coeff_max": coeff.where(ran).max("cell").transpose(..., "alpha"),
    }


def _survival(curves: xr.Dataset, restricted_mean: xr.DataArray) -> dict[str, Estimate]:
    """Return survival at, and restricted mean up to, the horizon, with their intervals."""
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


def _mean_over_forks(da: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Average each trajectory or question over forks: mean (0 without values), and count 1 or 0."""
    over = [dim for dim in da.dims if dim == "fork"]
    count = da.notnull().sum(over)
    # Over no dimension, xarray's sum keeps NaN.
    return da.fillna(0.0).sum(over, dtype=np.float64) / count.clip(1), (count > 0).astype(int)


def _at_last_fork(answers: xr.DataArray) -> xr.DataArray:
    """Return the last value of each trajectory along forks; NaN without values."""
    if not answers.sizes["fork"]:
        return answers.sum("fork") * np.nan
    place = xr.DataArray(np.arange(1, answers.sizes["fork"] + 1), dims="fork")
    last = (answers.notnull() * place).max("fork")
    return answers.where(place == last).sum("fork", min_count=1)


def _repetition(ds: xr.Dataset) -> xr.DataArray:
    if "repetition" in ds:
        return ds["repetition"]
    return xr.full_like(ds["gen_len"], np.nan, dtype=np.float32)
