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
from isoklx.stats.groups import has_label
from isoklx.stats.horizon import up_to_horizon
from isoklx.stats.kernels import beta_product
from isoklx.stats.kernels import kaplan_meier as km
from isoklx.stats.kernels.multiple_tests import first_failure, last_of_sequence
from isoklx.stats.lifetimes import METRICS, Ended, measured
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
        One row per threshold and group; never a dose that was not tested.

        threshold, and the labels that cells are grouped by
            Which group.
        safe_dose
            The largest alpha such that there and at every smaller one that was tested, the lower
            bound is at least `survive`; NaN where there is none.
        survival, lower
            Survival there, and its lower bound.
        next_dose, next_survival, next_lower
            The dose at which testing stopped, likewise; NaN where all were passed.
        reason
            Why it stopped there.
        observed_dose
            The largest alpha such that nobody died there and at every smaller one: an observation,
            whatever the number of prompts.
        n, n_distinct, n_prompts
            Trajectories, those that repeat no other of their group, and prompts, at the dose that
            decided it.
        prompts_needed
            How many prompts, all alive, would put the bound at `survive`.
        coeff
            What ``safe_dose`` comes to in each cell of the group: a single number where they agree
            to six digits, else one per ``run_id``.

    Raises
    ------
    DatasetError
        When `ds` is not a sweep, or no cell has the metric.
    UsageError
        When `survive` or `confidence` is out of range, and as `isoklx.survival` does.

    Notes
    -----
    Doses are tested upwards and testing stops at the first failure. Such a fixed sequence needs no
    correction for the number of doses (Maurer, Hothorn and Lehmacher 1995). The bound is that of
    ``isoklx.survival`` with ``interval="auto"``, one-sided. With 8 prompts that are all alive it is
    0.69 at 95%: no dose can then be shown to let 90% survive, which takes 29.

    Examples
    --------
    >>> import isoklx
    >>> table = safe_dose(isoklx.open_sweep("data/sample"), by=None, survive=0.6)
    >>> print(table["reason"].item())
    16 of 80 died
    """
    _check_share("survive", survive, lowest=0)
    _check_share("confidence", confidence, lowest=0.5)
    whole = measured(ds, metric)
    schema.require(whole, ["c_star", "gen_len"])
    level = 2 * confidence - 1
    found = survival_of(whole, metric, threshold, by, distinct, "auto", ended, level=level)
    found = found.compute()
    time = METRICS[metric].time
    lower = found["survival_ci"].sel(ci_bound="lower", drop=True)
    doses = found[["n", "n_distinct", "n_prompts"]].assign(
        counted=found["n_distinct" if distinct else "n"],
        survival=up_to_horizon(km.at_horizon, found["survival"], found),
        lower=up_to_horizon(km.at_horizon, lower, found),
        died=found["died"].sum(time),
    )
    keys = ["threshold", *(str(dim) for dim in found["n"].dims if dim != "alpha")]
    needed = beta_product.number_to_claim(survive, confidence=confidence)
    rows = [
        dict(zip(keys, labels, strict=True))
        | _decide(of_group.squeeze(keys), survive, confidence)
        | {"prompts_needed": needed}
        for labels, of_group in _groups_of(doses, keys)
    ]
    table = pd.DataFrame(rows)
    return table.assign(coeff=[_coefficients(whole, keys[1:], row) for row in rows])


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


def _decide(doses: xr.Dataset, survive: float, confidence: float) -> dict[str, object]:
    """Test the doses of one group upwards."""
    alphas, tested = doses["alpha"].values, doses["n"].values > 0
    passed = doses["lower"].values >= survive - EQUAL
    safe = int(last_of_sequence(passed, tested))
    failed = int(first_failure(passed, tested))
    alive = int(last_of_sequence(doses["died"].values == 0, tested))

    def at(index: int, name: str) -> float:
        return float(doses[name].values[index]) if index >= 0 else math.nan

    return {
        "safe_dose": float(alphas[safe]) if safe >= 0 else math.nan,
        "survival": at(safe, "survival"),
        "lower": at(safe, "lower"),
        "next_dose": float(alphas[failed]) if failed >= 0 else math.nan,
        "next_survival": at(failed, "survival"),
        "next_lower": at(failed, "lower"),
        "reason": _reason(doses.isel(alpha=failed), survive, confidence)
        if failed >= 0
        else "no larger dose was tested",
        "observed_dose": float(alphas[alive]) if alive >= 0 else math.nan,
        **{
            name: int(doses[name].values[failed if failed >= 0 else safe])
            for name in ("n", "n_distinct", "n_prompts")
        },
    }


def _reason(dose: xr.Dataset, survive: float, confidence: float) -> str:
    """Why a dose was not passed."""
    n = int(dose["n_prompts"])
    largest = float(beta_product.bound_while_nobody_dies(np.array(n), confidence=confidence))
    if largest < survive - EQUAL:
        needed = beta_product.number_to_claim(survive, confidence=confidence)
        return f"too few prompts: {n}, all alive, give {largest:.2f}; {needed} would do"
    if not dose["died"].any():
        return f"nobody died, but too many rollouts ended early for a bound of {survive:g}"
    return f"{int(dose['died'])} of {int(dose['counted'])} died"


def _coefficients(ds: xr.Dataset, by: Sequence[str], row: dict[str, Any]) -> str:
    """What the safe dose of a row comes to in the cells that were run at it; empty without one."""
    if math.isnan(row["safe_dose"]):
        return ""
    at_dose = ds.isel(alpha=np.flatnonzero(ds["alpha"].values == row["safe_dose"]))
    there = at_dose["gen_len"].notnull().any(["alpha", "prompt"]).values
    for name in by:
        there = there & has_label(ds[name].values, row[name])
    cells = ds.isel(cell=np.flatnonzero(there))
    texts = [f"{row['safe_dose'] * c_star + 0:.6g}" for c_star in cells["c_star"].values]
    if len(set(texts)) == 1:
        return texts[0]
    named = zip(cells["run_id"].values, texts, strict=True)
    return ", ".join(f"{run_id} {text}" for run_id, text in named)
