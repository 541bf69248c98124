"""Types of values on the command line: accepted texts, and their names in messages.

A command's parameters are annotated with ``str``, ``int``, ``float``, ``bool``, ``Path``, ``Out``,
``Literal[...]``, ``tuple[T, ...]`` (comma-separated) and unions of these. Nothing is guessed: a
text is a value of its parameter's type, or it is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from isoklx.cli.outputs import Out


@dataclass(frozen=True)
class ValueType:
    """Values that one annotation accepts."""

    metavar: str  # in a usage line: INT
    meaning: str  # in a sentence: a whole number
    read: Callable[[str], Any]  # raises ValueError for an invalid text
    item: ValueType | None = None  # type of a list's items
    choices: tuple[str, ...] = ()  # allowed words of the value or of an item


def value_type(annotation: object) -> ValueType:
    """Return the values that an annotation accepts; TypeError for an unsupported annotation.

    The first member of a union that accepts a text reads it. ``None`` stands for an absent flag and
    cannot be written.
    """
    members = get_args(annotation)
    origin = get_origin(annotation)
    if origin is Literal:
        return _choice(members)
    if origin in (Union, UnionType):
        return _either([value_type(member) for member in members if member is not NoneType])
    if origin is tuple and len(members) == 2 and members[1] is Ellipsis:
        return _several(value_type(members[0]))
    if isinstance(annotation, type) and annotation in _SCALARS:
        return _SCALARS[annotation]
    raise TypeError(f"a command's parameter cannot be annotated {annotation}")


def _choice(values: tuple[object, ...]) -> ValueType:
    texts = {str(value): value for value in values}
    meaning = _alternatives(list(texts))
    return ValueType("|".join(texts), meaning, partial(_look_up, texts), choices=tuple(texts))


def _either(types: list[ValueType]) -> ValueType:
    if len(types) == 1:
        return types[0]
    # A list includes a single item, which is not named again.
    listed = [each.item.metavar for each in types if each.item is not None]
    metavar = "|".join(each.metavar for each in types if each.metavar not in listed)
    meanings = [each.item.meaning for each in types if each.item is not None]
    meaning = _alternatives([each.meaning for each in types if each.meaning not in meanings])
    item = next((each.item for each in types if each.item is not None), None)
    choices = tuple(dict.fromkeys(word for each in types for word in each.choices))
    return ValueType(metavar, meaning, partial(_read_either, types), item, choices)


def _several(item: ValueType) -> ValueType:
    meaning = f"{item.meaning}, or several separated by commas"
    reader = partial(_read_several, item)
    return ValueType(f"{item.metavar},...", meaning, reader, item, item.choices)


def _alternatives(names: list[str]) -> str:
    *rest, last = names
    return f"{', '.join(rest)} or {last}" if rest else last


def _look_up(texts: dict[str, Any], text: str) -> Any:
    if text not in texts:
        raise ValueError(text)
    return texts[text]


def _read_either(types: list[ValueType], text: str) -> Any:
    for each in types:
        try:
            return each.read(text)
        except ValueError:
            continue
    raise ValueError(text)


def _read_several(item: ValueType, text: str) -> tuple[Any, ...]:
    return tuple(item.read(piece.strip()) for piece in text.split(","))


def _read_text(text: str) -> str:
    if not text:
        raise ValueError(text)
    return text


def _read_path(text: str) -> Path:
    return Out.read(text).path


def _read_whole(text: str) -> int:
    # int() also accepts "6_4", " 64" and the digits of every script. 18 digits fit an int64.
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        raise ValueError(text)
    return int(text)


def _read_number(text: str) -> float:
    if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text):
        raise ValueError(text)
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
"""Values of a switch, in any case."""


def _read_truth(text: str) -> bool:
    return bool(_look_up(TRUTH, text.lower()))


_SCALARS: dict[type, ValueType] = {
    str: ValueType("TEXT", "text", _read_text),
    Path: ValueType("PATH", "a path", _read_path),
    Out: ValueType("PATH", "a path", Out.read),
    int: ValueType("INT", "a whole number", _read_whole),
    float: ValueType("NUMBER", "a finite number", _read_number),
    bool: ValueType("true|false", "true or false", _read_truth),
}
