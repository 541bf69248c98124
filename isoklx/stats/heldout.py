"""Held-out KL of a dose: the calibration's statistic, computed on the held-out prompts."""

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
"""Statistic of a group whose cells were calibrated by different ones: its held-out KL is NaN."""

KL_COLUMNS = ("kl", "kl_lower", "kl_upper")


def statistics(ds: xr.Dataset, pooled: Pooled) -> list[str]:
    """Return the calibration's statistic of each group, flat: p95, rms, mean or `SEVERAL`."""
    stats = ds["target_stat"].values if "target_stat" in ds else np.full(ds.sizes["cell"], "p95")
    code = pooled.groups.code.values
    found = []
    for i in range(int(np.prod(pooled.groups.shape))):
        of_group = {str(each) for each in stats[pooled.present & (code == i)]}
        found.append(of_group.pop() if len(of_group) == 1 else SEVERAL)
    return found


def heldout_kl(ds: xr.Dataset, pooled: Pooled) -> Estimate:
    """Estimate the calibration's statistic over all held-out tokens by group and dose, in nats."""
    # Intervals at 95% over prompts: Woodruff's for p95, else Student's t of the mean of KL (rms: of
    # its square). NaN where the cells of a group were calibrated by different statistics.
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
    """Add the held-out KL of both sides to a table of contrasts; NaN without KL."""
    whole = validated(ds, metric)
    labels = [name for name in cell_labels(whole) if name == by or name in table]
    values: Mapping[tuple[Any, ...], tuple[float, ...]] = {}
    if "kl" in whole and whole["kl"].size:
        values = _kl_by_labels(whole, Pooled.of(whole, labels, metric, distinct=distinct), labels)
    columns: dict[str, list[float]] = {}
    for side in ("first", "second"):
        places = [_key(row, side, by, labels) for row in table.to_dict("records")]
        found = [values.get(place, (np.nan,) * len(KL_COLUMNS)) for place in places]
        numbers = zip(KL_COLUMNS, zip(*found, strict=True), strict=True)
        columns |= {f"{side}_{name}": list(column) for name, column in numbers}
    return table.assign(**columns)


def _kl_by_labels(
    ds: xr.Dataset, pooled: Pooled, labels: Sequence[str]
) -> dict[tuple[Any, ...], tuple[float, ...]]:
    """Return held-out KL with its bounds, by labels and dose."""
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


def _key(row: Mapping[Any, Any], side: str, by: str, labels: Sequence[str]) -> tuple[Any, ...]:
    known = {**row, by: row[side]}
    return (*(known[name] for name in labels), known["alpha"])


def unequal_doses(doses: pd.DataFrame) -> list[float]:
    """Find the doses, without 0, at which 95% intervals of held-out KL do not all overlap."""
    bounds = doses.groupby("alpha")[["heldout_kl_lower", "heldout_kl_upper"]]
    extremes = bounds.agg({"heldout_kl_lower": "max", "heldout_kl_upper": "min"})
    apart = extremes["heldout_kl_lower"] > extremes["heldout_kl_upper"]
    return [float(alpha) for alpha in extremes.index[apart] if alpha != 0]


def said_of_kl(doses: pd.DataFrame, statistic: str) -> str:
    """State held-out KL at alpha 1, and the doses at which groups differ; empty without either."""
    found = doses.loc[doses["alpha"] == 1, "heldout_kl"].dropna()
    sentences = []
    if len(found):
        texts = list(dict.fromkeys(f"{value:.3g}" for value in (found.min(), found.max())))
        sentences.append(f"Held-out {statistic} of KL at alpha 1: {' to '.join(texts)} nats.")
    unequal = unequal_doses(doses)
    if unequal:
        subject = "It" if sentences else f"Held-out {statistic} of KL"
        sentences.append(
            f"{subject} differs between groups by more than its 95% intervals at alpha "
            f"{', '.join(f'{alpha:g}' for alpha in unequal)}: equal alpha is not equal KL there."
        )
    return " ".join(sentences)
