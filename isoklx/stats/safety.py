"""The largest dose that may be called safe, and why no larger one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from isoklx import schema
from isoklx.errors import UsageError
from isoklx.stats.endpoint import METRICS, Ended, up_to_horizon, validated
from isoklx.stats.groups import has_label
from isoklx.stats.kernels import beta_product
from isoklx.stats.kernels import kaplan_meier as km
from isoklx.stats.kernels.comparisons import first_failure, last_of_sequence
from isoklx.stats.survival import survival_of

EQUAL = 1e-9
"""Where a bound is compared with what it has to reach, they are equal to this."""


def safe_dose(
    ds: xr.Dataset,
    by: str | Sequence[str] | None = "method",
    survive: float = 0.9,
    confidence: float = 0.95,
    metric: str = "pmass_eval",
    threshold: float | Sequence[float] | None = None,
    distinct: bool = True,
    ended: Ended = "censored",
) -> pd.DataFrame:
    """Find the largest dose that may be called safe.

    Parameters
    ----------
    ds : Dataset
        A sweep or any selection of it.
    by : str or sequence of str, optional
        As for `isoklx.survival`.
    survive : float
        Share of trajectories that has to survive to the horizon; above 0 and below 1.
    confidence : float
        Of the one-sided bound of survival that has to reach it; at least 0.5 and below 1.
    metric, threshold, distinct, ended
        As for `isoklx.survival`.

    Returns
    -------
    DataFrame
        One row per threshold, group and side: the doses from 0 upwards, and those from 0 downwards
        where a group was run at negative doses. Never a dose that was not tested.

        threshold, and the labels that cells are grouped by
            Which group.
        toward
            "+" for the doses from 0 upwards, "-" for those from 0 downwards. "Smaller" below means
            nearer to 0.
        safe_dose
            The dose farthest from 0 such that there and at every smaller one that was tested, the
            lower bound is at least `survive`; NaN where there is none.
        survival, lower
            Survival there, and its lower bound.
        next_dose, next_survival, next_lower
            The dose at which testing stopped, likewise; NaN where all were passed.
        reason
            Why it stopped there.
        observed_dose
            The dose farthest from 0 such that no trajectory died there or at a smaller one, and
            all that count as alive were probed after token 0: an observation, whatever the number
            of prompts.
        n, n_distinct, n_prompts
            Trajectories, those that repeat no other of their group, and prompts, at the dose that
            decided it.
        prompts_needed
            How many prompts would put the bound at `survive` if no trajectory died; where none
            died at that dose, with the same share of rollouts that end early.
        coeff
            Coefficient of ``safe_dose`` in each cell of the group: a single number where they agree
            to six digits, else one per ``run_id``.
        observed_coeff
            Coefficient of ``observed_dose``, likewise.

    Raises
    ------
    DatasetError
        When `ds` is not a sweep, or no cell has the metric.
    UsageError
        When `survive` or `confidence` is out of range, and as `isoklx.survival` does.

    Notes
    -----
    Doses are tested outwards from 0, on each side by itself, and testing stops at the first
    failure. Such a fixed sequence needs no correction for the number of doses (Maurer, Hothorn and
    Lehmacher 1995); `confidence` is that of each side. The bound is one-sided: the lower end of the
    interval of ``isoklx.survival(..., level=2 * confidence - 1)``. With 8 prompts that are all
    alive it is 0.69 at 95%: no dose can then be shown to let 90% survive, which takes 29.

    A claim needs an answer after token 0 from every rollout that it counts as alive: what was only
    probed at token 0 shows that the model understands the question, not that it can write.

    Examples
    --------
    >>> import isoklx
    >>> table = safe_dose(isoklx.open_sweep("data/sample"), by=None, survive=0.6)
    >>> print(table["reason"].item())
    16 of 80 died
    """
    _check_share("survive", survive, lowest=0)
    _check_share("confidence", confidence, lowest=0.5)
    whole = validated(ds, metric)
    schema.require(whole, ["c_star", "gen_len"])
    how: dict[str, Any] = {
        "by": by,
        "distinct": distinct,
        "interval": "auto",
        "level": 2 * confidence - 1,
    }
    found = survival_of(whole, metric, threshold, ended=ended, **how).compute()
    time = METRICS[metric].time
    lower = found["survival_ci"].sel(ci_bound="lower", drop=True)
    doses = found[["n", "n_distinct", "n_prompts"]].assign(
        counted=found["n_distinct" if distinct else "n"],
        survival=up_to_horizon(km.at_horizon, found["survival"], found),
        lower=up_to_horizon(km.at_horizon, lower, found),
        died=found["died"].sum(time),
    )
    known = found
    if ended == "alive" and time == "fork":
        known = survival_of(whole, metric, threshold, ended="censored", **how).compute()
    doses = doses.assign(_after_token_0(known, time, ended))
    keys = ["threshold", *(str(dim) for dim in found["n"].dims if dim != "alpha")]
    rows = [
        dict(zip(keys, labels, strict=True)) | _decide(of_side, survive, confidence)
        for labels, of_group in _groups_of(doses, keys)
        for of_side in _sides(of_group.squeeze(keys))
    ]
    table = pd.DataFrame(rows)
    return table.assign(
        **{
            name: [_coefficients(whole, keys[1:], row, dose) for row in rows]
            for name, dose in (("coeff", "safe_dose"), ("observed_coeff", "observed_dose"))
        }
    )


def _after_token_0(curves: xr.Dataset, time: str, ended: Ended) -> dict[str, xr.DataArray]:
    """Count the trajectories that were probed after token 0, and those alive that were not.

    `curves` are those with ``ended="censored"``. Trajectories that ended count as alive only where
    `ended` says so. Of KL, which every token has, all trajectories count as probed.
    """
    at_risk, start = curves["at_risk"], curves[time] <= 0
    before = at_risk.max(time)
    if time == "token":
        return {"probed": before, "unprobed": xr.zeros_like(before)}
    after = at_risk.where(~start, 0).max(time)
    gone = ["died"] if ended == "alive" else ["died", "censored"]
    return {
        "probed": after,
        "unprobed": before - after - sum(curves[each].where(start, 0).sum(time) for each in gone),
    }


def _check_share(name: str, value: float, *, lowest: float) -> None:
    if not (lowest < value < 1 or value == lowest > 0):
        allowed = f"at least {lowest:g}" if lowest else "above 0"
        raise UsageError(f"{name}={value:g}: give a number {allowed} and below 1")


def _groups_of(
    doses: xr.Dataset, keys: Sequence[str]
) -> Iterator[tuple[tuple[Any, ...], xr.Dataset]]:
    """Every threshold and group of which anything was run."""
    for place in np.ndindex(*(doses.sizes[key] for key in keys)):
        of_group = doses.isel({key: [i] for key, i in zip(keys, place, strict=True)})
        if of_group["n"].any():
            yield tuple(of_group[key].values[0] for key in keys), of_group


def _sides(doses: xr.Dataset) -> Iterator[xr.Dataset]:
    """The tested doses of one group on each side of 0, outwards from 0, which belongs to both."""
    alphas, tested = doses["alpha"].values, doses["n"].values > 0
    for toward, side in (("+", alphas >= 0), ("-", alphas <= 0)):
        here = np.flatnonzero(side & tested)
        if (alphas[here] != 0).any() or (toward == "+" and not (alphas[tested] < 0).any()):
            outwards = here[np.argsort(np.abs(alphas[here]))]
            yield doses.isel(alpha=outwards).assign_attrs(toward=toward)


def _decide(doses: xr.Dataset, survive: float, confidence: float) -> dict[str, object]:
    """Test the doses of one group and side outwards."""
    alphas = doses["alpha"].values
    tested = np.ones(alphas.shape, dtype=bool)
    probed = (doses["unprobed"].values == 0) & (doses["probed"].values > 0)
    passed = (doses["lower"].values >= survive - EQUAL) & probed
    safe = int(last_of_sequence(passed, tested))
    failed = int(first_failure(passed, tested))
    alive = int(last_of_sequence((doses["died"].values == 0) & probed, tested))
    decisive = doses.isel(alpha=failed if failed >= 0 else safe)

    def at(index: int, name: str) -> float:
        return float(doses[name].values[index]) if index >= 0 else math.nan

    return {
        "toward": doses.attrs["toward"],
        "safe_dose": at(safe, "alpha"),
        "survival": at(safe, "survival"),
        "lower": at(safe, "lower"),
        "next_dose": at(failed, "alpha"),
        "next_survival": at(failed, "survival"),
        "next_lower": at(failed, "lower"),
        "reason": _reason(decisive, survive, confidence)
        if failed >= 0
        else "no larger dose was tested",
        "observed_dose": at(alive, "alpha"),
        **{name: int(decisive[name]) for name in ("n", "n_distinct", "n_prompts")},
        "prompts_needed": _prompts_needed(decisive, survive, confidence),
    }


def _prompts_needed(dose: xr.Dataset, survive: float, confidence: float) -> int:
    """Count the prompts that would put the bound at `survive` if no trajectory died.

    Where none died at the dose, as many of them end early as did there.
    """
    needed = beta_product.number_to_claim(survive, confidence=confidence)
    if dose["died"].any() or not dose["lower"] > 0:
        return needed
    worth = beta_product.number_at_bound(float(dose["lower"]), confidence=confidence)
    return max(needed, math.ceil(needed * int(dose["n_prompts"]) / worth - EQUAL))


def _reason(dose: xr.Dataset, survive: float, confidence: float) -> str:
    """Say why a dose was not passed, with the bound that is reported beside it."""
    n, died, counted = (int(dose[name]) for name in ("n_prompts", "died", "counted"))
    lower, needed = float(dose["lower"]), _prompts_needed(dose, survive, confidence)
    largest = float(beta_product.bound_while_nobody_dies(np.array(n), confidence=confidence))
    reasons = []
    if died:
        few = f" (too few prompts as well: {needed}, all alive, would do)"
        reasons.append(f"{died} of {counted} died" + few * (largest < survive - EQUAL))
    elif not lower > 0:
        reasons.append("no rollout died, but none was followed to the horizon")
    elif lower < survive - EQUAL:
        all_alive = lower >= largest - EQUAL
        how, which = ("all alive", "") if all_alive else ("some ended early", " such")
        reasons.append(f"too few prompts: {n}, {how}, give {lower:.2f}; {needed}{which} would do")
    if dose["unprobed"]:
        reasons.append(
            f"{int(dose['unprobed'])} of {counted} count as alive and were probed at token 0 only"
        )
    return "; ".join(reasons)


def _coefficients(ds: xr.Dataset, by: Sequence[str], row: dict[str, Any], dose: str) -> str:
    """Coefficient of a dose of a row in the cells that were run at it; empty without a dose."""
    alpha = row[dose]
    if math.isnan(alpha):
        return ""
    at_dose = ds.isel(alpha=np.flatnonzero(ds["alpha"].values == alpha))
    there = at_dose["gen_len"].notnull().any(["alpha", "prompt"]).values
    for name in by:
        there = there & has_label(ds[name].values, row[name])
    cells = ds.isel(cell=np.flatnonzero(there))
    texts = [f"{alpha * c_star + 0:.6g}" for c_star in cells["c_star"].values]
    if len(set(texts)) == 1:
        return texts[0]
    named = zip(cells["run_id"].values, texts, strict=True)
    return ", ".join(f"{run_id} {text}" for run_id, text in named)
