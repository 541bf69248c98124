"""Cells, doses, tokens and rows of a figure of trajectories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from isoklx import schema
from isoklx.errors import DatasetError, UsageError
from isoklx.plot.titles import group_name
from isoklx.stats.deduplication import APART, compare
from isoklx.stats.groups import check_labels, occurring, split_by
from isoklx.stats.selection import restore_dims, select_alphas, with_absent

NEEDED = ("kl", "gen_len", "target_kl", "has_kl")
OPTIONAL = ("pmass_eval", "pmass")
"""Variables that are drawn if present."""

MOST_DOSES = 12
"""Doses drawn by default: one panel each, on one or two pages."""

LABELS = ("run_id", "model", "model_short", "method", "seed", "window")
"""Labels in titles, and labels that identify duplicates."""


def in_scope(
    ds: xr.Dataset, *, window: int | None = None, alphas: float | Sequence[float] | None = None
) -> xr.Dataset:
    """Keep the cells of one window that have per-token KL, and the doses at which they ran.

    By default all doses, or those of `few_doses` if there are more than 12; given doses keep their
    order. The result has all dimensions of the schema, tokens and forks up to the window, and NaN
    for pmass that the sweep lacks.
    """
    optional = [name for name in OPTIONAL if name in schema.variables_of(ds)]
    schema.require(ds, [*NEEDED, *LABELS, "token", *(["fork"] if optional else []), *optional])
    ds = with_absent(restore_dims(ds), OPTIONAL)
    ds = _select(ds, cell=ds["has_kl"].values == 1)
    ran = ds["gen_len"].notnull().any(["cell", "prompt"]).values
    if not ran.any():
        raise DatasetError("no cell of this sweep has per-token KL: nothing to draw")
    ds = _of_window(ds, window)
    if alphas is not None:
        return select_alphas(ds, alphas)
    return few_doses(_select(ds, alpha=ds["gen_len"].notnull().any(["cell", "prompt"]).values))


def few_doses(ds: xr.Dataset) -> xr.Dataset:
    """Keep at most 12 doses, evenly spread, with the smallest, the largest, 0 and 1.

    If doses were dropped, the attribute ``n_doses`` is their original number.
    """
    alphas = ds["alpha"].values
    if alphas.size <= MOST_DOSES:
        return ds
    named = np.flatnonzero(np.isin(alphas, [0, 1]))
    even = np.linspace(0, alphas.size - 1, MOST_DOSES - named.size).round().astype(int)
    return ds.isel(alpha=np.union1d(even, named)).assign_attrs(n_doses=int(alphas.size))


def doses_drawn(ds: xr.Dataset) -> str:
    """Describe how many of the doses are drawn; empty if all are."""
    n = ds.attrs.get("n_doses")
    return "" if n is None else f"{ds.sizes['alpha']} of {n} doses"


def split(ds: xr.Dataset, by: Sequence[str]) -> list[tuple[dict[str, Any], xr.Dataset]]:
    """Split a sweep into groups of cells with their shared labels."""
    check_labels(by, ds)
    groups = list(occurring(ds, by))
    if len(groups) == 1:  # without a copy
        return [(groups[0][0], ds)]
    return [(labels, ds.isel(cell=cells)) for labels, cells in groups]


def told_apart(
    ds: xr.Dataset, by: Sequence[str], hue: Sequence[str] = ()
) -> tuple[xr.Dataset, list[str]]:
    """Choose the label that defines the rows of a figure, without pooling sides or temperatures.

    Returns the Dataset, with a new cell label ``group`` if rows differ in more labels than `by`,
    and the row labels: `by`, one label of `isoklx.schema.SPLIT` if `by` is empty, or ``group``.
    """
    keys = [*by, *hue]
    rows = [*by, *split_by(ds, keys)[len(keys) :]]
    if len(rows) in (len(by), 1):
        return ds, rows
    names = np.empty(ds.sizes["cell"], dtype=object)
    for labels, cells in occurring(ds, rows):
        names[cells] = group_name(labels)
    return ds.assign_coords(group=("cell", names.astype(str))), ["group"]


@dataclass(frozen=True)
class Once:
    """Data of a figure, with and without duplicates."""

    drawn: xr.Dataset
    distinct: xr.Dataset
    """Without cells that duplicate another cell of their group, whether these are drawn or not."""
    total: xr.Dataset
    """``n`` and ``n_distinct`` over all groups, along ``alpha``."""


def each_once(ds: xr.Dataset, by: Sequence[str], *, distinct: bool) -> Once:
    """Drop duplicates within each group of cells, dose by dose, if `distinct`."""
    found = compare(ds, list(by))
    once = found.without(ds)
    # Groups by seed may each hold one copy of a duplicate; the total counts it once.
    total = found.count(ds) if set(by) <= set(APART) else compare(ds).count(ds)
    return Once(once if distinct else ds, once, total)


def ran(ds: xr.Dataset) -> xr.DataArray:
    """Count the trajectories of each dose."""
    return ds["gen_len"].notnull().sum(["cell", "prompt"])


def how_smoothed(roll: int) -> str:
    """Describe the smoothing in a title; empty without smoothing."""
    return f", smoothed over {roll} tokens" if roll > 1 else ""


def _of_window(ds: xr.Dataset, window: int | None) -> xr.Dataset:
    windows = np.unique(ds["window"].values)
    if window is None and windows.size > 1:
        there = ", ".join(map(str, windows))
        raise UsageError(
            f"cells of several windows cannot share an axis: set window to one of {there}"
        )
    if window is not None and window not in windows:
        there = ", ".join(map(str, windows))
        raise UsageError(f"window {window} not found among cells with KL; available: {there}")
    chosen = windows[0] if window is None else window
    ds = _select(ds, cell=ds["window"].values == chosen, token=ds["token"].values < chosen)
    return _select(ds, fork=ds["fork"].values <= chosen) if "fork" in ds.variables else ds


def _select(ds: xr.Dataset, **masks: npt.NDArray[np.bool_]) -> xr.Dataset:
    """Select the positions at which the masks are true; without a copy if that is all of them."""
    return ds.isel({dim: np.flatnonzero(mask) for dim, mask in masks.items() if not mask.all()})
