"""The numbers of the dose figure: what each dose does, and which doses are safe."""

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
    """All that is drawn, in memory.

    Parameters
    ----------
    ds : Dataset
        A sweep or any selection of it.
    shown : sequence of str
        Quantities of `isoklx.dose_response`.
    by, survive, confidence, interval
        As for `isoklx.plot.dose_response`.
    how : dict
        Its options that `isoklx.safe_dose` has as well: ``metric``, ``threshold``, ``distinct`` and
        ``ended``.

    Returns
    -------
    Dataset
        Along the labels of `by` and ``alpha``: what is shown, each with its interval, the counts,
        ``safe_dose`` and the ``reason`` of none along ``toward`` ("+" and "-", where there are
        negative doses), ``target_kl`` where it is a p95, and ``coeff`` where all agree. The
        attribute ``note`` says what is safe, what is dead, what the intervals are, and where groups
        differ in held-out KL. Survival has an interval whose lower end is the bound of a claim.
    """
    counts = ["n", "n_distinct", "n_prompts", "horizon"]
    level = 2 * confidence - 1
    doses = dose_statistics.dose_response(ds, by, interval=interval, level=level, **how)
    wanted = [name for each in shown for name in (each, f"{each}_ci")]
    kl = doses[["heldout_kl", "heldout_kl_ci"]]
    drawn = doses[[*wanted, *counts]].compute()
    whole = validated(ds, how["metric"])
    keys = [str(dim) for dim in drawn["n"].dims if dim != "alpha"]
    drawn = drawn.isel(alpha=(drawn["n"] > 0).any(keys).values)
    if not drawn.sizes["alpha"]:
        name = how["metric"]
        raise DatasetError(f"no trajectory of this sweep has {name}, so there is nothing to draw")
    drawn = drawn.assign_coords(threshold=doses["threshold"])
    drawn = drawn.assign(_placed(safe_dose(ds, by, survive, confidence, **how), drawn, keys))
    cells = whole.isel(cell=np.flatnonzero(whole[METRICS[how["metric"]].flag].values == 1))
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
    sure = of_survival(
        interval, how["metric"], counted[ran], drawn["n_prompts"].values[ran], how["ended"], level
    )
    total = drawn[["n", "n_distinct"]].sum(keys)
    notes = [_safe(drawn, confidence), _dead(drawn, how["metric"])]
    if {"survival", "restricted_mean"} & set(shown):
        notes.append(f"{sure} Claims use the lower ends.")
    if keys:
        notes.append(_kl(kl.sel(alpha=drawn["alpha"])))
    return drawn.assign_attrs(
        doses.attrs,
        figure="dose_response",
        title=described(cells, "What each dose does", size=trajectories(total)),
        note=" ".join(filter(None, notes)),
    )


def _placed(table: pd.DataFrame, drawn: xr.Dataset, keys: Sequence[str]) -> dict[str, xr.DataArray]:
    """Return the safe dose of each group and side, and the reason of none, at their labels."""
    labels = {dim: drawn[dim].values for dim in ("threshold", *keys)}
    labels["toward"] = np.unique(table["toward"])
    # A label may be NaN, which an index of several levels does not tell from the others.
    places = tuple(pd.Index(each).get_indexer(table[dim]) for dim, each in labels.items())
    found = {}
    for name, nothing in (("safe_dose", math.nan), ("reason", "")):
        shape = [each.size for each in labels.values()]
        values: Any = np.full(shape, nothing, dtype=None if nothing else object)
        values[places] = table[name].to_numpy()
        found[name] = xr.DataArray(values, labels, [*labels])
    return found


def _safe(drawn: xr.Dataset, confidence: float) -> str:
    survive = float(drawn["survive"])
    said = (
        f"Safe: {100 * confidence:g}% sure that {100 * survive:g}% survive, there and at every "
        "smaller dose."
    )
    reasons = set(drawn["reason"].values[drawn["safe_dose"].isnull().values].tolist())
    alike = reasons - {""}
    return f"{said} None: {alike.pop()}." if len(alike) == 1 else said


def _kl(doses: xr.Dataset) -> str:
    """Say what held-out KL is compared; empty where there is none."""
    bounds = doses["heldout_kl_ci"]
    frame = xr.Dataset(
        {
            "heldout_kl": doses["heldout_kl"],
            "heldout_kl_lower": bounds.sel(ci_bound="lower", drop=True),
            "heldout_kl_upper": bounds.sel(ci_bound="upper", drop=True),
        }
    ).to_dataframe()
    return said_of_kl(frame.reset_index("alpha"), doses["heldout_kl"].attrs["target_stat"])


def _dead(drawn: xr.Dataset, metric: str) -> str:
    thresholds = drawn["threshold"].values
    of = f"{thresholds[0]:g}" if thresholds.size == 1 else "threshold"
    return f"Dead once {death(metric, of)}."


def _coefficients(cells: xr.Dataset) -> Any:
    """The coefficient of each dose, where all cells have the same one, to three digits."""
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
    """A line of every panel."""

    name: str
    labels: dict[str, Any]
    style: dict[str, Any]


def groups_of(drawn: xr.Dataset) -> list[Group]:
    """Every combination of labels that was run."""
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
    """Names of the groups, each with how many trajectories it has, and its safe dose.

    Of a name that leaves no room for these on a line of so many letters, they are on the next one.
    """
    labels = []
    for group in groups:
        counts = drawn[["n", "n_distinct"]].sel(group.labels)
        counts = counts.isel(alpha=(counts["n"] > 0).values)
        safe = drawn["safe_dose"].sel(group.labels).to_dataset("toward")
        nothing = xr.full_like(drawn["threshold"], np.nan)
        sides = [safe.get(side, nothing).values.tolist() for side in ("-", "+")]
        texts = [_safe_doses(*each) for each in zip(*sides, strict=True)]
        name = literal(group.name) or "all cells"
        facts = f"{trajectories(counts)}, safe: {', '.join(texts)}"
        labels.append(f"{name},{' ' if len(name + facts) + 2 <= letters else chr(10)}{facts}")
    return labels


def _safe_doses(lowest: float, highest: float) -> str:
    """Name the safe doses between the ends of both sides; NaN is a side without any."""
    low, high = f"{lowest:g}", f"{highest:g}"
    if np.isnan(lowest):
        return "none" if np.isnan(highest) else f"{ALPHA} {AT_MOST} {high}"
    return f"{low} {AT_MOST} {ALPHA}" + f" {AT_MOST} {high}" * (not np.isnan(highest))


def legend_entries(
    drawn: xr.Dataset, groups: Sequence[Group], labels: Sequence[str]
) -> list[Line2D]:
    """What the lines and marks of all panels stand for."""
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
