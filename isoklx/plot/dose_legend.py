"""What the legend of the dose figure says: groups, how many trajectories each has, and marks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from matplotlib.lines import Line2D

from isoklx.plot.limits import FLOOR
from isoklx.plot.palette import group_styles, ink
from isoklx.plot.reference_lines import DASHED
from isoklx.plot.titles import ALPHA, group_name, literal, trajectories

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
