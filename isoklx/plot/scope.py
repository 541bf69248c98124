"""Which cells, doses, tokens and rows a figure of trajectories is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import xarray as xr

from isoklx import schema
from isoklx.errors import DatasetError, UsageError
from isoklx.stats.repeats import compare
from isoklx.stats.selection import restore_dims, select_alphas

NEEDED = ("kl", "pmass", "pmass_eval", "gen_len", "target_kl", "has_kl", "fork")
By = Literal["method", "model_short", "seed"]


def in_scope(
    ds: xr.Dataset, *, window: int | None = None, alphas: Sequence[float] | None = None
) -> xr.Dataset:
    """Keep the cells of one window that have per-token KL, and the doses that they were run at.

    Parameters
    ----------
    ds : Dataset
        A sweep or any selection of it.
    window : int, optional
        In tokens; needed where the cells have several.
    alphas : sequence of float, optional
        Doses, in the order of the panels; by default all that were run.

    Returns
    -------
    Dataset
        With all dimensions of the schema; tokens and forks as far as the window goes.

    Raises
    ------
    DatasetError
        When `ds` is not a sweep, or has no per-token KL.
    UsageError
        When a window or dose is not there, or a window has to be chosen.
    """
    schema.require(ds, [*NEEDED, *schema.CELL_LABELS])
    ds = restore_dims(ds)
    ds = ds.isel(cell=np.flatnonzero(ds["has_kl"].values == 1))
    ran = ds["gen_len"].notnull().any(["cell", "prompt"]).values
    if not ran.any():
        raise DatasetError("no cell of this sweep has per-token KL, so there is nothing to draw")
    ds = _of_window(ds, window)
    if alphas is not None:
        return select_alphas(ds, alphas).drop_duplicates("alpha")
    return ds.isel(alpha=ds["gen_len"].notnull().any(["cell", "prompt"]).values)


def groups(ds: xr.Dataset, by: By | None) -> dict[str, xr.Dataset]:
    """The cells of each row of panels, by the label that they share; one group without `by`.

    Raises
    ------
    UsageError
        When `by` is no label that rows can differ in.
    """
    if by is None:
        return {"": ds}
    if by not in get_args(By):
        raise UsageError(f"by {by!r}: give one of {', '.join(get_args(By))}")
    labels = ds[by].values
    named = "seed {}" if by == "seed" else "{}"
    return {
        named.format(label): ds.isel(cell=np.flatnonzero(labels == label))
        for label in np.unique(labels)
    }


@dataclass(frozen=True)
class Once:
    """What a figure draws, and of how much."""

    drawn: xr.Dataset
    sizes: dict[str, xr.Dataset]
    """``n`` and ``n_distinct`` of each row of panels along ``alpha``."""
    total: xr.Dataset
    """Those of all rows together."""

    @property
    def differ(self) -> bool:
        """Whether panels have different numbers."""
        each = {
            tuple(pair)
            for size in self.sizes.values()
            for pair in zip(*_numbers(size), strict=True)
        }
        return len(each) > 1 or len(self.sizes) > 1


def each_once(ds: xr.Dataset, by: By | None, *, distinct: bool) -> Once:
    """Leave out what repeats another cell of its row of panels, dose by dose, unless told not to.

    Raises
    ------
    UsageError
        When `by` is no label that rows can differ in.
    """
    rows = groups(ds, by)
    found = compare(ds, by)
    once = found.without(ds)
    # Rows by seed hold each repeat once; all together they do not.
    total = compare(ds).count(ds) if by == "seed" else found.count(ds)
    sizes = {
        label: xr.Dataset({"n": _ran(rows[label]), "n_distinct": _ran(cells)})
        for label, cells in groups(once, by).items()
    }
    return Once(once if distinct else ds, sizes, total)


def how_smoothed(roll: int) -> str:
    """Words for a title; none where nothing is smoothed."""
    return f", smoothed over {roll} tokens" if roll > 1 else ""


def _ran(ds: xr.Dataset) -> xr.DataArray:
    return ds["gen_len"].notnull().sum(["cell", "prompt"])


def _numbers(size: xr.Dataset) -> tuple[list[int], list[int]]:
    return size["n"].values.tolist(), size["n_distinct"].values.tolist()


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
    return ds.isel(
        cell=np.flatnonzero(ds["window"].values == chosen),
        token=ds["token"].values < chosen,
        fork=ds["fork"].values <= chosen,
    )
