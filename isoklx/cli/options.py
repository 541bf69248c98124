"""Option groups that several commands share, each a dataclass of flags."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, Literal, get_type_hints

from isoklx.cli.help import explained_by
from isoklx.errors import UsageError

if TYPE_CHECKING:
    import xarray as xr


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Replace option groups (dataclasses) in a signature with one keyword parameter per field."""
    hints = get_type_hints(command)
    signature = inspect.signature(command).parameters
    groups: dict[str, Any] = {
        name: hints[name]
        for name, each in signature.items()
        if is_dataclass(hints[name]) and each.default is each.empty
    }
    parameters: list[inspect.Parameter] = []
    for name, parameter in signature.items():
        if name not in groups:
            parameters.append(parameter)
            continue
        parameters += [
            inspect.Parameter(
                each.name, parameter.KEYWORD_ONLY, default=each.default, annotation=each.type
            )
            for each in fields(groups[name])
        ]
        hints |= get_type_hints(groups[name])

    @functools.wraps(command)
    def flat(*args: Any, **flags: Any) -> None:
        built = {
            name: group(**{f.name: flags.pop(f.name) for f in fields(group) if f.name in flags})
            for name, group in groups.items()
        }
        command(*args, **flags, **built)

    del flat.__wrapped__  # inspect.signature must show the flat signature
    flat.__signature__ = inspect.Signature(parameters, return_annotation=None)  # type: ignore[attr-defined]
    flat.__annotations__ = {each.name: hints[each.name] for each in parameters} | {"return": None}
    # A group may inherit from another one, whose docstring explains the inherited fields.
    classes = [each for group in groups.values() for each in group.__mro__ if is_dataclass(each)]
    return explained_by(*(each for each in classes if isinstance(each, type)))(flat)


@dataclass(frozen=True)
class Cells:
    """Selection of cells.

    Parameters
    ----------
    window : int, optional
        Only cells with this window, in tokens; figures require it if the sweep has several windows.
    model_contains : str
        Only cells whose model name contains this text.
    sign : {"+", "-"}, optional
        Only cells on this side of the direction; by default both sides, each by itself.
    """

    window: int | None = None
    model_contains: str = ""
    sign: Literal["+", "-"] | None = None


@dataclass(frozen=True)
class Scope(Cells):
    """Selection of cells and doses.

    Parameters
    ----------
    alphas : tuple of float, optional
        Doses to include, in this order; by default all.
    """

    alphas: tuple[float, ...] | None = None


def select_model_and_side(ds: xr.Dataset, cells: Cells) -> xr.Dataset:
    """Select the cells of a model and side; raise UsageError where nothing matches."""
    from isoklx import schema
    from isoklx.stats.selection import restore_dims, select

    text = cells.model_contains
    if text:
        schema.require(ds, ["model"])
        ds = restore_dims(ds)
        found = ds.isel(cell=[text in str(model) for model in ds["model"].values])
        if not found.sizes["cell"]:
            available = ", ".join(sorted(set(map(str, ds["model"].values))))
            raise UsageError(f"no model contains {text!r}; available: {available}")
        ds = found
    return ds if cells.sign is None else select(restore_dims(ds), sign=cells.sign)


def select_window(ds: xr.Dataset, window: int | None) -> xr.Dataset:
    """Select the cells of a window; raise UsageError where no cell has it."""
    import numpy as np

    from isoklx import schema

    if window is None:
        return ds
    schema.require(ds, ["window"])
    available = np.unique(ds["window"].values)
    if window not in available:
        raise UsageError(
            f"--window {window} not found; available: {', '.join(map(str, available))}"
        )
    return ds.isel(cell=ds["window"].values == window)


def select_scope(ds: xr.Dataset, cells: Cells) -> xr.Dataset:
    """Select the cells and doses asked for; raise UsageError for one that is absent."""
    from isoklx.stats.selection import select_alphas

    ds = select_window(select_model_and_side(ds, cells), cells.window)
    alphas = cells.alphas if isinstance(cells, Scope) else None
    return ds if alphas is None else select_alphas(ds, alphas).drop_duplicates("alpha")
