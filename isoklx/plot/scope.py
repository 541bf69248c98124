"""Which cells, doses, tokens and rows a figure of trajectories is made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from isoklx import schema
from isoklx.errors import DatasetError, UsageError
from isoklx.plot.titles import label_name
from isoklx.stats.groups import group_cells
from isoklx.stats.selection import restore_dims, select_alphas, with_absent

NEEDED = ("kl", "gen_len", "target_kl", "has_kl")
OPTIONAL = ("pmass_eval", "pmass")
"""What is drawn where it is there."""

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
        Doses, in the order of the panels; by default all that were run.

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
    optional = [name for name in OPTIONAL if name in ds.variables]
    schema.require(ds, [*NEEDED, *LABELS, "token", *(["fork"] if optional else []), *optional])
    ds = with_absent(restore_dims(ds), OPTIONAL)
    ds = ds.isel(cell=np.flatnonzero(ds["has_kl"].values == 1))
    ran = ds["gen_len"].notnull().any(["cell", "prompt"]).values
    if not ran.any():
        raise DatasetError("no cell of this sweep has per-token KL, so there is nothing to draw")
    ds = _of_window(ds, window)
    if alphas is not None:
        return select_alphas(ds, alphas)
    return ds.isel(alpha=ds["gen_len"].notnull().any(["cell", "prompt"]).values)


def groups(ds: xr.Dataset, by: str | None) -> dict[str, xr.Dataset]:
    """The cells of each row of panels, by the label that they share; one group without `by`.

    Raises
    ------
    UsageError
        When `by` is no label of a cell.
    """
    if by is None:
        return {"": ds}
    found = group_cells(ds, by, np.ones(ds.sizes["cell"], dtype=bool))
    code = found.code.values
    return {
        label_name(by, label): ds.isel(cell=np.flatnonzero(code == i))
        for i, label in enumerate(found.labels[by].values.tolist())
    }


def how_smoothed(ds: xr.Dataset, roll: int) -> str:
    """Words for a title; none where no trajectory is long enough to be smoothed."""
    return f", smoothed over {roll} tokens" if 1 < roll <= ds.sizes["token"] else ""


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
    ds = ds.isel(
        cell=np.flatnonzero(ds["window"].values == chosen), token=ds["token"].values < chosen
    )
    return ds.isel(fork=ds["fork"].values <= chosen) if "fork" in ds.variables else ds
