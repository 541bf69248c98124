"""Options that several commands share: written once, as a dataclass, and taken as single flags."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from isoklx.cli.explanations import explained_by


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
