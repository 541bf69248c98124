"""Which cells, doses, tokens and rows a figure of trajectories is made of."""

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
"""What is drawn where it is there."""

MOST_DOSES = 12
"""Doses that are drawn where none were chosen: a panel for each, on one or two pages."""

LABELS = ("run_id", "model", "model_short", "method", "seed", "window")
"""What titles say, and what tells repeats."""


def in_scope(
    ds: xr.Dataset, *, window: int | None = None, alphas: float | Sequence[float] | None = None
) -> xr.Dataset:
    """Keep the cells of one window that have per-token KL, and the doses that they were run at.

    Parameters
    ----------
    ds : Dataset
        A sweep or any selection of it.
    window : int, optional
        In tokens; needed where the cells have several.
    alphas : float or sequence of float, optional
        Doses, in the order of the panels; by default all that were run, or of more than 12 those
        that `few_doses` keeps.

    Returns
    -------
    Dataset
        With all dimensions of the schema; tokens and forks as far as the window goes. pmass that
        the sweep lacks is NaN.

    Raises
    ------
    DatasetError
        When `ds` is not a sweep, or has no per-token KL.
    UsageError
        When a window or dose is not there, or a window has to be chosen.
    """
    optional = [name for name in OPTIONAL if name in schema.variables_of(ds)]
    schema.require(ds, [*NEEDED, *LABELS, "token", *(["fork"] if optional else []), *optional])
    ds = with_absent(restore_dims(ds), OPTIONAL)
    ds = _where(ds, cell=ds["has_kl"].values == 1)
    ran = ds["gen_len"].notnull().any(["cell", "prompt"]).values
    if not ran.any():
        raise DatasetError("no cell of this sweep has per-token KL, so there is nothing to draw")
    ds = _of_window(ds, window)
    if alphas is not None:
        return select_alphas(ds, alphas)
    return few_doses(_where(ds, alpha=ds["gen_len"].notnull().any(["cell", "prompt"]).values))


def few_doses(ds: xr.Dataset) -> xr.Dataset:
    """Keep at most 12 doses, spread evenly: the smallest, the largest, 0 and 1 among them.

    Parameters
    ----------
    ds : Dataset
        Along ``alpha``, ascending.

    Returns
    -------
    Dataset
        Where doses were left out, its attribute ``n_doses`` says how many there were.

    Examples
    --------
    >>> few_doses(xr.Dataset(coords={"alpha": np.arange(200) / 50}))["alpha"].values.tolist()
    [0.0, 0.44, 0.88, 1.0, 1.32, 1.76, 2.22, 2.66, 3.1, 3.54, 3.98]
    """
    alphas = ds["alpha"].values
    if alphas.size <= MOST_DOSES:
        return ds
    named = np.flatnonzero(np.isin(alphas, [0, 1]))
    even = np.linspace(0, alphas.size - 1, MOST_DOSES - named.size).round().astype(int)
    return ds.isel(alpha=np.union1d(even, named)).assign_attrs(n_doses=int(alphas.size))


def doses_drawn(ds: xr.Dataset) -> str:
    """Say how many doses of how many are drawn; empty where all are."""
    n = ds.attrs.get("n_doses")
    return "" if n is None else f"{ds.sizes['alpha']} of {n} doses"


def split(ds: xr.Dataset, by: Sequence[str]) -> list[tuple[dict[str, Any], xr.Dataset]]:
    """The cells of each group, and the labels that they share; one group without any label.

    Raises
    ------
    UsageError
        When `by` names what is no label of a cell.

    Examples
    --------
    >>> import isoklx
    >>> [labels for labels, _ in split(isoklx.open_sweep("data/sample"), ["seed"])]
    [{'seed': 0}, {'seed': 1}]
    """
    check_labels(by, ds)
    groups = list(occurring(ds, by))
    if len(groups) == 1:  # without a copy
        return [(groups[0][0], ds)]
    return [(labels, ds.isel(cell=cells)) for labels, cells in groups]


def told_apart(
    ds: xr.Dataset, by: Sequence[str], hue: Sequence[str] = ()
) -> tuple[xr.Dataset, list[str]]:
    """Name one label for the rows of a figure, such that none pools what is never pooled unasked.

    Parameters
    ----------
    ds : Dataset
        A sweep, with dimension ``cell``.
    by, hue : sequence of str
        Labels of the rows, and further ones that groups within a row differ in.

    Returns
    -------
    ds : Dataset
        With a label ``group`` of a cell where rows differ in more labels than `by`.
    rows : list of str
        `by`, a single label of `isoklx.schema.SPLIT` where `by` is empty, or ``group``.

    Raises
    ------
    UsageError
        When `by` or `hue` names what is no label of a cell.
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
    """What a figure draws, and of how much."""

    drawn: xr.Dataset
    distinct: xr.Dataset
    """Without what repeats another cell of its group, whether that is drawn or not."""
    total: xr.Dataset
    """``n`` and ``n_distinct`` of all groups together, along ``alpha``."""


def each_once(ds: xr.Dataset, by: Sequence[str], *, distinct: bool) -> Once:
    """Leave out what repeats another cell of its group, dose by dose, unless told not to.

    Raises
    ------
    UsageError
        When `by` names what is no label of a cell.
    """
    found = compare(ds, list(by))
    once = found.without(ds)
    # Groups by seed, say, hold each repeat once; all together they do not.
    total = found.count(ds) if set(by) <= set(APART) else compare(ds).count(ds)
    return Once(once if distinct else ds, once, total)


def ran(ds: xr.Dataset) -> xr.DataArray:
    """Trajectories of each dose."""
    return ds["gen_len"].notnull().sum(["cell", "prompt"])


def how_smoothed(roll: int) -> str:
    """Words for a title; none where nothing is smoothed."""
    return f", smoothed over {roll} tokens" if roll > 1 else ""


def _of_window(ds: xr.Dataset, window: int | None) -> xr.Dataset:
    windows = np.unique(ds["window"].values)
    if window is None and windows.size > 1:
        there = ", ".join(map(str, windows))
        raise UsageError(
            f"cells of several windows do not share an axis: choose one of {there} (window)"
        )
    if window is not None and window not in windows:
        there = ", ".join(map(str, windows))
        raise UsageError(f"window {window}: no cell with KL has it; there is {there}")
    chosen = windows[0] if window is None else window
    ds = _where(ds, cell=ds["window"].values == chosen, token=ds["token"].values < chosen)
    return _where(ds, fork=ds["fork"].values <= chosen) if "fork" in ds.variables else ds


def _where(ds: xr.Dataset, **masks: npt.NDArray[np.bool_]) -> xr.Dataset:
    """Those at which the masks are true; no copy where that is all of them."""
    return ds.isel({dim: np.flatnonzero(mask) for dim, mask in masks.items() if not mask.all()})
