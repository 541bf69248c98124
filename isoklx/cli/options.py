"""Options that several commands share: written once, as a dataclass, and taken as single flags."""

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
    """Spread the option groups in a command's signature into keyword parameters of their own.

    Parameters
    ----------
    command : callable
        A function with a numpydoc docstring. A parameter that is annotated with a dataclass, and
        has no default, is a group: the dataclass has a default for every field, and a docstring
        that explains them.

    Returns
    -------
    callable
        The command with a flat signature, explained by the groups as well.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Saving:
    ...     dpi: int = 200
    >>> @grouped
    ... def draw(file: str, *, saving: Saving) -> None:
    ...     print(file, saving)
    >>> str(inspect.signature(draw))
    "(file: 'str', *, dpi: 'int' = 200) -> None"
    >>> draw("a.nc", dpi=300)
    a.nc Saving(dpi=300)
    """
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

    del flat.__wrapped__  # whoever asks for the signature shall see the flat one
    flat.__signature__ = inspect.Signature(parameters, return_annotation=None)  # type: ignore[attr-defined]
    flat.__annotations__ = {each.name: hints[each.name] for each in parameters} | {"return": None}
    # A group may extend another one, which explains its own fields.
    classes = [each for group in groups.values() for each in group.__mro__ if is_dataclass(each)]
    return explained_by(*(each for each in classes if isinstance(each, type)))(flat)


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
