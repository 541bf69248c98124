"""Numbers and legend of the dose figure: dose response, and the safe dose of each group."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.lines import Line2D

from isoklx.errors import DatasetError
from isoklx.plot.axes import DASHED, FLOOR
from isoklx.plot.palette import group_styles, ink
from isoklx.plot.titles import ALPHA, death, described, group_name, literal, trajectories
from isoklx.stats import dose_response as dose_statistics
from isoklx.stats.assumptions import of_survival
from isoklx.stats.endpoint import METRICS, validated
from isoklx.stats.heldout import said_of_kl
from isoklx.stats.kernels.kaplan_meier import Interval
from isoklx.stats.safety import safe_dose


def numbers(
    ds: xr.Dataset,
    shown: Sequence[str],
    by: str | Sequence[str] | None,
    survive: float,
    confidence: float,
    interval: Interval,
    how: dict[str, Any],
) -> xr.Dataset:
    """Compute the numbers to draw, in memory, along ``alpha`` and the labels of `by`.

    `how` holds the options shared with `isoklx.safe_dose`: metric, threshold, distinct and ended.
    """
    counts = ["n", "n_distinct", "n_prompts", "horizon"]
    # The lower end of this two-sided interval is the one-sided bound of a safe dose.
    level = 2 * confidence - 1
    doses = dose_statistics.dose_response(ds, by, interval=interval, level=level, **how)
    wanted = [name for each in shown for name in (each, f"{each}_ci")]
    kl = doses[["heldout_kl", "heldout_kl_ci"]]
    drawn = doses[[*wanted, *counts]].compute()
    valid = validated(ds, how["metric"])
    keys = [str(dim) for dim in drawn["n"].dims if dim != "alpha"]
    drawn = drawn.isel(alpha=(drawn["n"] > 0).any(keys).values)
    if not drawn.sizes["alpha"]:
        name = how["metric"]
        raise DatasetError(f"nothing to draw: no trajectory of this sweep has {name}")
    drawn = drawn.assign_coords(threshold=doses["threshold"])
    drawn = drawn.assign(
        _safe_doses_by_group(safe_dose(ds, by, survive, confidence, **how), drawn, keys)
    )
    cells = valid.isel(cell=np.flatnonzero(valid[METRICS[how["metric"]].flag].values == 1))
    of_p95 = cells["target_stat"].values == "p95" if "target_stat" in cells else True
    known = np.isfinite(cells["target_kl"].values) & of_p95
    targets = np.unique(cells["target_kl"].values[known])
    drawn = drawn.assign(target_kl=("target", targets), survive=survive)
    coeff = _coefficients(cells.sel(alpha=drawn["alpha"]))
    if coeff is not None:
        drawn = drawn.assign(coeff=("alpha", coeff))
    drawn = drawn.assign_coords(shown=list(shown))
    counted = drawn["n_distinct" if how["distinct"] else "n"].values
    ran = drawn["n"].values > 0
    assumptions = of_survival(
        interval, how["metric"], counted[ran], drawn["n_prompts"].values[ran], how["ended"], level
    )
    total = drawn[["n", "n_distinct"]].sum(keys)
    notes = [_safety_note(drawn, confidence), _death_note(drawn, how["metric"])]
    if {"survival", "restricted_mean"} & set(shown):
        notes.append(f"{assumptions} Safe doses use the lower ends.")
    if keys:
        notes.append(_heldout_note(kl.sel(alpha=drawn["alpha"])))
    return drawn.assign_attrs(
        doses.attrs,
        figure="dose_response",
        title=described(cells, "Dose response", size=trajectories(total)),
        note=" ".join(filter(None, notes)),
    )


def _safe_doses_by_group(
    table: pd.DataFrame, drawn: xr.Dataset, keys: Sequence[str]
) -> dict[str, xr.DataArray]:
    """Return ``safe_dose`` and the ``reason`` for none, along groups, thresholds and sides."""
    labels = {dim: drawn[dim].values for dim in ("threshold", *keys)}
    labels["toward"] = np.unique(table["toward"])
    # A MultiIndex would not match labels that are NaN.
    places = tuple(pd.Index(each).get_indexer(table[dim]) for dim, each in labels.items())
    found = {}
    for name, nothing in (("safe_dose", math.nan), ("reason", "")):
        shape = [each.size for each in labels.values()]
        values: Any = np.full(shape, nothing, dtype=None if nothing else object)
        values[places] = table[name].to_numpy()
        found[name] = xr.DataArray(values, labels, [*labels])
    return found


def _safety_note(drawn: xr.Dataset, confidence: float) -> str:
    survive = float(drawn["survive"])
    note = (
        f"Safe dose: {100 * confidence:g}% confidence that at least {100 * survive:g}% survive, at "
        "it and at every smaller dose."
    )
    reasons = set(drawn["reason"].values[drawn["safe_dose"].isnull().values].tolist()) - {""}
    return f"{note} Reason for none: {reasons.pop()}." if len(reasons) == 1 else note


def _heldout_note(doses: xr.Dataset) -> str:
    """Compare held-out KL between groups in words; empty without held-out KL."""
    bounds = doses["heldout_kl_ci"]
    frame = xr.Dataset(
        {
            "heldout_kl": doses["heldout_kl"],
            "heldout_kl_lower": bounds.sel(ci_bound="lower", drop=True),
            "heldout_kl_upper": bounds.sel(ci_bound="upper", drop=True),
        }
    ).to_dataframe()
    return said_of_kl(frame.reset_index("alpha"), doses["heldout_kl"].attrs["target_stat"])


def _death_note(drawn: xr.Dataset, metric: str) -> str:
    thresholds = drawn["threshold"].values
    threshold = f"{thresholds[0]:g}" if thresholds.size == 1 else "threshold"
    return f"Dead once {death(metric, threshold)}."


def _coefficients(cells: xr.Dataset) -> Any:
    """Return the coefficient of each dose, or None if cells differ in its first three digits."""
    coeff = cells["alpha"].values * cells["c_star"].values[:, np.newaxis]
    ran = cells["gen_len"].notnull().any("prompt").transpose("cell", "alpha").values
    coeff = np.where(ran, coeff, np.nan)
    known = ~np.isnan(coeff).all(axis=0)
    if not known.all():
        return None
    low, high = np.nanmin(coeff, axis=0), np.nanmax(coeff, axis=0)
    same = [f"{one:.3g}" == f"{other:.3g}" for one, other in zip(low, high, strict=True)]
    return low if all(same) else None


AT_MOST = "\N{LESS-THAN OR EQUAL TO}"

DOTTED: dict[str, Any] = {"alpha": 0.5, "linewidth": 0.7, "linestyle": ":"}
RING: dict[str, Any] = {
    **{"marker": "o", "markersize": 9, "markerfacecolor": "none", "markeredgewidth": 1.2},
    "linestyle": "none",
}


class Group(NamedTuple):
    """A group of cells, drawn as one line in every panel."""

    name: str
    labels: dict[str, Any]
    style: dict[str, Any]


def groups_of(drawn: xr.Dataset) -> list[Group]:
    """List the combinations of labels that were run."""
    keys = [str(dim) for dim in drawn["n"].dims if dim != "alpha"]
    found = []
    for place in np.ndindex(*(drawn.sizes[key] for key in keys)):
        labels = {key: drawn[key].values[i].item() for key, i in zip(keys, place, strict=True)}
        if drawn["n"].sel(labels).any():
            found.append(labels)
    styles = group_styles([tuple(labels.items()) for labels in found])
    return [
        Group(group_name(labels), labels, style)
        for labels, style in zip(found, styles, strict=True)
    ]


def legend_labels(drawn: xr.Dataset, groups: Sequence[Group], letters: int) -> list[str]:
    """Return each group's name, number of trajectories and safe dose, in lines of `letters`."""
    labels = []
    for group in groups:
        counts = drawn[["n", "n_distinct"]].sel(group.labels)
        counts = counts.isel(alpha=(counts["n"] > 0).values)
        safe = drawn["safe_dose"].sel(group.labels).to_dataset("toward")
        nothing = xr.full_like(drawn["threshold"], np.nan)
        sides = [safe.get(side, nothing).values.tolist() for side in ("-", "+")]
        texts = [_format_safe_doses(*each) for each in zip(*sides, strict=True)]
        name = literal(group.name) or "all cells"
        facts = f"{trajectories(counts)}, safe: {', '.join(texts)}"
        labels.append(f"{name},{' ' if len(name + facts) + 2 <= letters else chr(10)}{facts}")
    return labels


def _format_safe_doses(lowest: float, highest: float) -> str:
    """Write the range of safe doses; NaN means that a side lacks one."""
    low, high = f"{lowest:g}", f"{highest:g}"
    if np.isnan(lowest):
        return "none" if np.isnan(highest) else f"{ALPHA} {AT_MOST} {high}"
    return f"{low} {AT_MOST} {ALPHA}" + f" {AT_MOST} {high}" * (not np.isnan(highest))


def legend_entries(
    drawn: xr.Dataset, groups: Sequence[Group], labels: Sequence[str]
) -> list[Line2D]:
    """Make the legend handles for the lines and marks of all panels."""
    shown = drawn["shown"].values
    entries = [
        Line2D([], [], markersize=3.5, linewidth=1.1, label=label, **group.style)
        for group, label in zip(groups, labels, strict=True)
    ]
    if drawn["safe_dose"].notnull().any():
        ring = Line2D([], [], color=ink(), **RING, label="safe dose")
        ring.set_markersize(6)
        entries.append(ring)
    if "survival" in shown:
        label = f"{100 * float(drawn['survive']):g}% survive"
        entries.append(Line2D([], [], color=ink(), **DOTTED, label=label))
    if "kl_p95" in shown:
        entries.append(Line2D([], [], color=ink(), **DASHED, label="target KL"))
        if (drawn["kl_p95"] <= FLOOR).any():
            below: dict[str, Any] = {"marker": "v", "markersize": 3, "linestyle": "none"}
            entries.append(Line2D([], [], color=ink(), **below, label=f"below {FLOOR:g} nats"))
    return entries
