"""Safe dose: the largest tested dose whose survival is shown to be high enough."""

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
"""Tolerance when a bound is compared with the required share."""


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
    """Find the largest tested dose at which a given share of trajectories is shown to survive.

    Parameters
    ----------
    ds : Dataset
        A sweep or any selection of it.
    by : str or sequence of str, optional
        As for `isoklx.survival`.
    survive : float
        Share of trajectories that must survive to the horizon; above 0 and below 1.
    confidence : float
        Confidence of the one-sided lower bound of survival; at least 0.5 and below 1.
    metric, threshold, distinct, ended
        As for `isoklx.survival`.

    Returns
    -------
    DataFrame
        One row per threshold, group and direction: doses from 0 upwards, and, for a group with
        negative doses, from 0 downwards. Only tested doses are reported.

        threshold, and the labels that cells are grouped by
            The group.
        toward
            "+" for the doses from 0 upwards, "-" for the doses from 0 downwards. "Smaller" below
            means closer to 0.
        safe_dose
            The dose farthest from 0 such that the lower bound is at least `survive` at this and
            every smaller tested dose; NaN without such a dose.
        survival, lower
            Survival at ``safe_dose``, and its lower bound.
        next_dose, next_survival, next_lower
            The first dose that failed, its survival and lower bound; NaN if all doses passed.
        reason
            Reason why ``next_dose`` failed.
        observed_dose
            The dose farthest from 0 such that no trajectory died at this or a smaller dose, and all
            that count as alive were probed after token 0. It is an observation, without a claim
            about other prompts.
        n, n_distinct, n_prompts
            Trajectories, trajectories without duplicates within their group, and prompts, at
            ``next_dose`` (or ``safe_dose`` if all doses passed).
        prompts_needed
            Number of prompts for which the bound reaches `survive` if no trajectory dies. If no
            trajectory died at that dose, it assumes the same share of rollouts that end early.
        coeff
            Coefficient of ``safe_dose`` in the cells of the group: a single number if they agree to
            six digits, else one per ``run_id``.
        observed_coeff
            Coefficient of ``observed_dose``, in the same form.

    Raises
    ------
    DatasetError
        When `ds` is not a sweep, or no cell has the metric.
    UsageError
        When `survive` or `confidence` is out of range, and as `isoklx.survival` does.

    Notes
    -----
    Doses are tested outwards from 0, separately in each direction, and testing stops at the first
    failure. Such a fixed sequence needs no correction for the number of doses (Maurer, Hothorn and
    Lehmacher 1995); `confidence` holds for each direction. The bound is one-sided: the lower end of
    the interval of ``isoklx.survival(..., level=2 * confidence - 1)``. With 8 prompts that all
    survive it is 0.69 at 95% confidence; a claim of 90% survival needs 29 prompts.

    A dose passes only if every rollout that counts as alive was probed after token 0. A probe at
    token 0 shows that the model understands the question, not that it can still write.

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
        dict(zip(keys, labels, strict=True)) | _decide(of_direction, survive, confidence)
        for labels, of_group in _groups_of(doses, keys)
        for of_direction in _directions(of_group.squeeze(keys))
    ]
    table = pd.DataFrame(rows)
    return table.assign(
        **{
            name: [_coefficients(whole, keys[1:], row, dose) for row in rows]
            for name, dose in (("coeff", "safe_dose"), ("observed_coeff", "observed_dose"))
        }
    )


def _after_token_0(curves: xr.Dataset, time: str, ended: Ended) -> dict[str, xr.DataArray]:
    """Count the trajectories probed after token 0, and those alive that were not."""
    # `curves` are those with ended="censored"; rollouts that ended count as alive only if `ended`
    # says so. KL is known at every token: all its trajectories count as probed.
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
        raise UsageError(f"{name} must be {allowed} and below 1, got {value:g}")


def _groups_of(
    doses: xr.Dataset, keys: Sequence[str]
) -> Iterator[tuple[tuple[Any, ...], xr.Dataset]]:
    """Yield every threshold and group with trajectories."""
    for place in np.ndindex(*(doses.sizes[key] for key in keys)):
        of_group = doses.isel({key: [i] for key, i in zip(keys, place, strict=True)})
        if of_group["n"].any():
            yield tuple(of_group[key].values[0] for key in keys), of_group


def _directions(doses: xr.Dataset) -> Iterator[xr.Dataset]:
    """Yield the tested doses in each direction, outwards from 0, which belongs to both."""
    alphas, tested = doses["alpha"].values, doses["n"].values > 0
    for toward, side in (("+", alphas >= 0), ("-", alphas <= 0)):
        here = np.flatnonzero(side & tested)
        if (alphas[here] != 0).any() or (toward == "+" and not (alphas[tested] < 0).any()):
            outwards = here[np.argsort(np.abs(alphas[here]))]
            yield doses.isel(alpha=outwards).assign_attrs(toward=toward)


def _decide(doses: xr.Dataset, survive: float, confidence: float) -> dict[str, object]:
    """Test the doses of one group and direction outwards."""
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
    """Return the number of prompts for which the bound reaches `survive` without deaths."""
    # If no trajectory died at the dose, the share that ended early is assumed to stay the same.
    needed = beta_product.number_to_claim(survive, confidence=confidence)
    if dose["died"].any() or not dose["lower"] > 0:
        return needed
    worth = beta_product.number_at_bound(float(dose["lower"]), confidence=confidence)
    return max(needed, math.ceil(needed * int(dose["n_prompts"]) / worth - EQUAL))


def _reason(dose: xr.Dataset, survive: float, confidence: float) -> str:
    """State why a dose failed, with the bound that is reported beside it."""
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
    """Format the coefficients of a dose in the cells that were run at it; empty without a dose."""
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
