"""The options that choose part of a sweep, and what they choose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from isoklx.errors import UsageError

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Cells:
    """Which cells of a sweep.

    Parameters
    ----------
    window : int, optional
        Only the cells of this window, in tokens; figures need it where there are several.
    model_contains : str
        Only the cells whose model's name contains this.
    sign : {"+", "-"}, optional
        Only the cells on this side of the direction; by default each side by itself.
    """

    window: int | None = None
    model_contains: str = ""
    sign: Literal["+", "-"] | None = None


@dataclass(frozen=True)
class Scope(Cells):
    """Which cells and doses of a sweep.

    Parameters
    ----------
    alphas : tuple of float, optional
        Doses, in this order; by default all of them.
    """

    alphas: tuple[float, ...] | None = None


def of_model_and_side(ds: xr.Dataset, cells: Cells) -> xr.Dataset:
    """The cells whose model's name contains a text, on the side that was asked for.

    Raises
    ------
    UsageError
        When there is none.
    """
    from isoklx import schema
    from isoklx.stats.selection import restore_dims, select

    text = cells.model_contains
    if text:
        schema.require(ds, ["model"])
        ds = restore_dims(ds)
        chosen = ds.isel(cell=[text in str(model) for model in ds["model"].values])
        if not chosen.sizes["cell"]:
            there = ", ".join(sorted(set(map(str, ds["model"].values))))
            raise UsageError(f"no cell has a model containing {text!r}; there is {there}")
        ds = chosen
    return ds if cells.sign is None else select(restore_dims(ds), sign=cells.sign)


def of_window(ds: xr.Dataset, window: int | None) -> xr.Dataset:
    """The cells of a window.

    Raises
    ------
    UsageError
        When there is none.
    """
    import numpy as np

    from isoklx import schema

    if window is None:
        return ds
    schema.require(ds, ["window"])
    there = np.unique(ds["window"].values)
    if window not in there:
        raise UsageError(
            f"--window {window}: no cell has it; there is {', '.join(map(str, there))}"
        )
    return ds.isel(cell=ds["window"].values == window)


def chosen(ds: xr.Dataset, cells: Cells) -> xr.Dataset:
    """The part of a sweep that was asked for.

    Raises
    ------
    UsageError
        When a model, a side, a window or a dose is not there.
    """
    from isoklx.stats.selection import select_alphas

    ds = of_window(of_model_and_side(ds, cells), cells.window)
    alphas = cells.alphas if isinstance(cells, Scope) else None
    return ds if alphas is None else select_alphas(ds, alphas).drop_duplicates("alpha")
