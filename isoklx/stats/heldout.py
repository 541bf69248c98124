"""Held-out KL of a dose: the statistic that the calibration aims at, on the held-out prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from isoklx.stats.endpoint import validated
from isoklx.stats.groups import cell_labels
from isoklx.stats.kernels import clusters
from isoklx.stats.pooled import Estimate, Pooled

SEVERAL = "several"
"""Statistic of a group whose cells aim at different ones: it has no held-out KL."""

KL_COLUMNS = ("kl", "kl_lower", "kl_upper")


def statistics(ds: xr.Dataset, pooled: Pooled) -> list[str]:
    """Return the calibration's statistic of each group, flat: p95, rms, mean, or `SEVERAL`."""
    stats = ds["target_stat"].values if "target_stat" in ds else np.full(ds.sizes["cell"], "p95")
    code = pooled.groups.code.values
    found = []
    for i in range(int(np.prod(pooled.groups.shape))):
        of_group = {str(each) for each in stats[pooled.present & (code == i)]}
        found.append(of_group.pop() if len(of_group) == 1 else SEVERAL)
    return found


def heldout_kl(ds: xr.Dataset, pooled: Pooled) -> Estimate:
    """Estimate the calibration's statistic over the held-out tokens of each group and dose.

    Parameters
    ----------
    ds : Dataset
        A sweep that `validated` has returned, with ``kl``.
    pooled : Pooled
        Its groups.

    Returns
    -------
    Estimate
        In nats, with a 95% interval over prompts: Woodruff's for p95, else Student's t of the mean
        of KL (rms: of its square). NaN where the cells of a group aim at different statistics.
    """
    stats = statistics(ds, pooled)
    by_cells = iter(stats)
    return pooled.each(lambda cells: _of_cells(ds["kl"], pooled, cells, next(by_cells)))


def _of_cells(kl: xr.DataArray, pooled: Pooled, cells: npt.NDArray[np.intp], stat: str) -> Estimate:
    if stat == "p95":
        return pooled.quantile_of(cells, kl, 0.95)
    power = 2 if stat == "rms" else 1
    part = kl.isel(cell=cells).where(stat != SEVERAL)
    if pooled.first is not None:
        part = part.where(pooled.first.isel(cell=cells))
    over = ["cell", "token"]
    total = (part.astype(np.float64) ** power).sum(over)
    value, bounds = pooled.estimate(clusters.mean, [total, part.notnull().sum(over)], "prompt")
    if power == 1:
        return value, bounds.clip(min=0)
    return value**0.5, bounds.clip(min=0) ** 0.5


def with_heldout_kl(
    table: pd.DataFrame, ds: xr.Dataset, by: str, metric: str, *, distinct: bool
) -> pd.DataFrame:
    """Add the held-out KL of both sides to a table of contrasts.

    Parameters
    ----------
    table : DataFrame
        Rows of `isoklx.survival_contrast`: ``first``, ``second``, and what they share.
    ds : Dataset
        The sweep that is compared.
    by, metric, distinct
        As for `isoklx.survival_contrast`.

    Returns
    -------
    DataFrame
        With the columns ``first_kl``, ``first_kl_lower``, ``first_kl_upper``, and those of
        ``second``; NaN throughout where the sweep has no KL.
    """
    whole = validated(ds, metric)
    labels = [name for name in cell_labels(whole) if name == by or name in table]
    values: Mapping[tuple[Any, ...], tuple[float, ...]] = {}
    if "kl" in whole and whole["kl"].size:
        values = _by_place(whole, Pooled.of(whole, labels, metric, distinct=distinct), labels)
    columns: dict[str, list[float]] = {}
    for side in ("first", "second"):
        places = [_place(row, side, by, labels) for row in table.to_dict("records")]
        found = [values.get(place, (np.nan,) * len(KL_COLUMNS)) for place in places]
        numbers = zip(KL_COLUMNS, zip(*found, strict=True), strict=True)
        columns |= {f"{side}_{name}": list(column) for name, column in numbers}
    return table.assign(**columns)


def _by_place(
    ds: xr.Dataset, pooled: Pooled, labels: Sequence[str]
) -> dict[tuple[Any, ...], tuple[float, ...]]:
    """Held-out KL with its bounds, by labels and dose."""
    value, bounds = (each.compute() for each in heldout_kl(ds, pooled))
    order = [*labels, "alpha"]
    value, bounds = value.transpose(*order), bounds.transpose(*order, "ci_bound")
    keys = [np.asarray(value[name].values).tolist() for name in order]
    return {
        tuple(key[i] for key, i in zip(keys, at, strict=True)): (
            float(value.values[at]),
            *bounds.values[at].tolist(),
        )
        for at in np.ndindex(value.shape)
    }


def _place(row: Mapping[Any, Any], side: str, by: str, labels: Sequence[str]) -> tuple[Any, ...]:
    known = {**row, by: row[side]}
    return (*(known[name] for name in labels), known["alpha"])


def unequal_doses(doses: pd.DataFrame) -> list[float]:
    """Find the doses at which two groups differ in held-out KL by more than their intervals.

    Parameters
    ----------
    doses : DataFrame
        A row per group and dose: ``alpha``, ``heldout_kl_lower``, ``heldout_kl_upper``.

    Returns
    -------
    list of float
        Ascending, without 0.

    Examples
    --------
    >>> rows = {"alpha": [1, 1], "heldout_kl_lower": [0.5, 2], "heldout_kl_upper": [1, 3]}
    >>> unequal_doses(pd.DataFrame(rows))
    [1.0]
    """
    bounds = doses.groupby("alpha")[["heldout_kl_lower", "heldout_kl_upper"]]
    extremes = bounds.agg({"heldout_kl_lower": "max", "heldout_kl_upper": "min"})
    apart = extremes["heldout_kl_lower"] > extremes["heldout_kl_upper"]
    return [float(alpha) for alpha in extremes.index[apart] if alpha != 0]


def said_of_kl(doses: pd.DataFrame, statistic: str) -> str:
    """Say what held-out KL groups have at alpha 1, and where it is not the same.

    Parameters
    ----------
    doses : DataFrame
        As for `unequal_doses`, with ``heldout_kl``.
    statistic : str
        ``target_stat`` of the held-out KL.

    Returns
    -------
    str
        One or two sentences; empty where there is nothing to say.

    Examples
    --------
    >>> rows = {"alpha": [1, 1], "heldout_kl": [0.9, 2.5], "heldout_kl_lower": [0.5, 2]}
    >>> said_of_kl(pd.DataFrame({**rows, "heldout_kl_upper": [1, 3]}), "p95")[:46]
    'Held-out p95 of KL at alpha 1: 0.9 to 2.5 nats'
    """
    found = doses.loc[doses["alpha"] == 1, "heldout_kl"].dropna()
    said = []
    if len(found):
        texts = list(dict.fromkeys(f"{value:.3g}" for value in (found.min(), found.max())))
        said.append(f"Held-out {statistic} of KL at alpha 1: {' to '.join(texts)} nats.")
    unequal = unequal_doses(doses)
    if unequal:
        subject = "It" if said else f"Held-out {statistic} of KL"
        said.append(
            f"{subject} differs between groups by more than its 95% intervals at alpha "
            f"{', '.join(f'{alpha:g}' for alpha in unequal)}: equal alpha is not equal KL there."
        )
    return " ".join(said)
