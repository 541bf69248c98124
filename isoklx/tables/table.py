"""A table as CSV, Markdown, JSON, or text for a terminal."""

from __future__ import annotations

import json
import math
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import Any

import pandas as pd
from pandas.api.types import is_float_dtype, is_numeric_dtype

from isoklx.system.terminal import printable

GAP = "  "

FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a spreadsheet's formula starts with, full-width signs as well; `printable` ends tabs."""

HEADING = 8
"""Columns that a heading may have at least before it is broken into lines."""


@dataclass(frozen=True)
class Table:
    """A table with what a reader must know beside it.

    Parameters
    ----------
    frame : DataFrame
        Columns of numbers, (nullable) booleans or text; the index says nothing.
    keys : tuple of str
        The first columns, which say what a row is of. They are never rounded.
    caption : str
        Sentences; what was counted, and of how many.
    """

    frame: pd.DataFrame
    keys: tuple[str, ...]
    caption: str


def as_csv(table: Table) -> str:
    r"""Write comma-separated values, as RFC 4180 has them: lines end with CR LF.

    Parameters
    ----------
    table : Table
        The table; its caption is left out.

    Returns
    -------
    str
        Numbers with all their digits, nothing where there is none. Text that a spreadsheet would
        take for a formula is preceded by an apostrophe; control characters are escaped.

    Examples
    --------
    >>> frame = pd.DataFrame({"method": ["pca", "=1+1"], "c_mean": [-1.25, None]})
    >>> as_csv(Table(frame, ("method",), ""))
    "method,c_mean\r\npca,-1.25\r\n'=1+1,\r\n"
    """
    safe = table.frame.copy()
    for name in safe:
        if not is_numeric_dtype(safe[name]):
            safe[name] = safe[name].map(_without_formula, na_action="ignore")
    return safe.to_csv(index=False, lineterminator="\r\n")


def as_json(table: Table) -> str:
    """Write a list of rows, each an object by column name.

    Parameters
    ----------
    table : Table
        The table; its caption is left out.

    Returns
    -------
    str
        JSON of ASCII alone: numbers with all their digits, null where there is none (or an
        infinite one, which JSON has not).

    Examples
    --------
    >>> print(as_json(Table(pd.DataFrame({"method": ["pca"], "c_std": [None]}), (), "")))
    [
      {
        "method": "pca",
        "c_std": null
      }
    ]
    """
    return json.dumps(_rows(table), indent=2, allow_nan=False)


def as_json_object(tables: Mapping[str, Table]) -> str:
    r"""Write several tables as one object: of each its rows, as `as_json` has them, by its name.

    Parameters
    ----------
    tables : mapping of str to Table
        The tables; their captions are left out.

    Returns
    -------
    str
        JSON of ASCII alone.

    Examples
    --------
    >>> as_json_object({"cells": Table(pd.DataFrame(columns=["cell"]), (), "")})
    '{\n  "cells": []\n}'
    """
    rows = {name: _rows(table) for name, table in tables.items()}
    return json.dumps(rows, indent=2, allow_nan=False)


def as_markdown(table: Table) -> str:
    r"""Write the caption and a Markdown table.

    Parameters
    ----------
    table : Table
        The table.

    Returns
    -------
    str
        Numbers as `readable` rounds them, nothing where there is none. What Markdown would take
        for markup in a text is escaped.

    Examples
    --------
    >>> frame = pd.DataFrame({"method": ["mean_diff", "a|b"], "c_mean": [1.23456, None]})
    >>> print(as_markdown(Table(frame, ("method",), "2 cells.")), end="")
    2 cells.
    <BLANKLINE>
    | method    |   c_mean |
    |:----------|---------:|
    | mean_diff |    1.235 |
    | a\|b      |          |
    """
    values = shown(table, text=_without_markup, missing="")
    numeric = [is_numeric_dtype(table.frame[name]) for name in table.frame]
    align = ["right" if each else "left" for each in numeric]
    # tabulate would take apart text that looks like a number.
    markdown = values.to_markdown(index=False, disable_numparse=True, colalign=align)
    return f"{table.caption}\n\n{markdown}\n"


def as_text(table: Table, width: int) -> str:
    """Lay the table out for a person at a terminal.

    Parameters
    ----------
    table : Table
        The table.
    width : int
        Columns of the terminal. What does not fit beside the keys is laid out below, beside the
        keys again.

    Returns
    -------
    str
        The caption, then all columns of all rows; numbers as `readable` rounds them, a hyphen
        where there is none.

    Examples
    --------
    >>> frame = pd.DataFrame({"method": ["pca"], "c_mean": [1.23456], "c_std": [float("nan")]})
    >>> print(as_text(Table(frame, ("method",), "One cell."), width=80))
    One cell.
    <BLANKLINE>
    method  c mean  c std
    ------  ------  -----
    pca      1.235      -
    """
    values = shown(table, text=printable, missing="-")
    columns = [_column(values[name], right=is_numeric_dtype(table.frame[name])) for name in values]
    blocks = _fitted(columns[: len(table.keys)], columns[len(table.keys) :], width)
    return "\n\n".join([caption_text(table, width), *map(_laid_out, blocks)])


def caption_text(table: Table, width: int) -> str:
    """Lay the caption out for a person at a terminal, who may copy a path out of it.

    Examples
    --------
    >>> print(caption_text(Table(pd.DataFrame(), (), "Cells of outputs/run-2."), width=20))
    Cells of
    outputs/run-2.
    """
    return textwrap.fill(table.caption, width, break_on_hyphens=False)


def readable(table: Table) -> pd.DataFrame:
    """Every value as text that a person reads.

    Parameters
    ----------
    table : Table
        The table.

    Returns
    -------
    DataFrame
        Text: a number with a 95% interval beside it, and both bounds, to two significant digits of
        half the interval's width; others to four significant digits; keys and whole numbers exact;
        nothing where there is none; other people's text without control characters.

    Examples
    --------
    >>> readable(Table(pd.DataFrame({"c_mean": [1.23456, None]}), (), ""))["c_mean"].tolist()
    ['1.235', '']
    >>> effect = {"effect": [-0.14812], "effect_lower": [-0.18731], "effect_upper": [-0.10903]}
    >>> readable(Table(pd.DataFrame(effect), (), "")).iloc[0].tolist()
    ['-0.148', '-0.187', '-0.109']
    """
    return shown(table, text=printable, missing="")


def _rows(table: Table) -> list[dict[str, Any]]:
    return [
        {str(name): value if _there(value) else None for name, value in row.items()}
        for row in table.frame.to_dict("records")
    ]


def shown(table: Table, text: Callable[[object], str], missing: str) -> pd.DataFrame:
    """Every value as text; `text` escapes other people's, `missing` stands where there is none."""
    found = pd.DataFrame(index=table.frame.index)
    decimals = _decimals(table.frame)
    for name, column in table.frame.items():
        exact = name in table.keys or (_all_whole(column) and name not in decimals)
        numbers: Iterable[Callable[[float], str]] = repeat(_exact if exact else _rounded)
        if not exact and name in decimals:
            numbers = [_rounded if d is None else partial(_fixed, d) for d in decimals[str(name)]]
        found[name] = [
            _readable(value, text, number) if _there(value) else missing
            for value, number in zip(column.astype(object), numbers, strict=False)
        ]
    return found


def _decimals(frame: pd.DataFrame) -> dict[str, list[int | None]]:
    """Decimals of each row of an estimate and its bounds, of which it is the column before."""
    found: dict[str, list[int | None]] = {}
    names = [str(name) for name in frame]
    for place, lower in enumerate(names):
        upper = f"{lower.removesuffix('lower')}upper"
        if place and lower.endswith("_lower") and upper in names:
            widths = (frame[upper] - frame[lower]).astype(float).abs()
            three = (names[place - 1], lower, upper)
            if not all(_all_whole(frame[name]) for name in three):
                decimals = [_decimals_of(width) for width in widths]
                found |= dict.fromkeys(three, decimals)
    return found


def _decimals_of(width: float) -> int | None:
    """Decimals that show half a width to two significant digits; None where it has no size."""
    if not math.isfinite(width) or width == 0:
        return None
    return max(1 - math.floor(math.log10(width / 2)), 0)


def _fixed(decimals: int, number: float) -> str:
    text = f"{number:.{decimals}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def _readable(value: object, text: Callable[[object], str], number: Callable[[float], str]) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return number(value) if isinstance(value, float) else text(value)


def _exact(number: float) -> str:
    return f"{number:.12g}"


def _rounded(number: float) -> str:
    """Four significant digits; nothing but zero is shown as 0."""
    if number == 0:
        return "0"
    # Digits in front of the point are all shown, as those of a number of tokens.
    return f"{number:.0f}" if 1e4 <= abs(number) < 1e9 else f"{number:#.4g}".removesuffix(".")


def _all_whole(column: pd.Series[Any]) -> bool:
    return is_float_dtype(column) and bool((column.dropna() % 1 == 0).all())


def _there(value: Any) -> bool:
    """Whether it is a value that JSON knows: neither missing nor infinite."""
    return not (pd.isna(value) or (isinstance(value, float) and math.isinf(value)))


def _without_formula(text: object) -> str:
    shown = printable(text)
    return f"'{shown}" if shown.lstrip().startswith(FORMULA) else shown


def _without_markup(text: object) -> str:
    """Backslashes before whatever means something to Markdown, and to the LaTeX within it."""
    # An underscore between letters means nothing, and names are full of them.
    return re.sub(r"[\\`*\[\]<>|$~&#!]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", printable(text))


@dataclass(frozen=True)
class _Column:
    """A column as text: the lines of its heading, and its values, all of one width."""

    heading: list[str]
    values: list[str]

    @property
    def width(self) -> int:
        return len(self.heading[0])


def _column(values: pd.Series[str], *, right: bool) -> _Column:
    words = str(values.name).split("_")
    heading = textwrap.wrap(" ".join(words), max(HEADING, *map(len, [*values, *words])))
    width = max(map(len, [*values, *heading]))
    align = str.rjust if right else str.ljust
    return _Column([align(line, width) for line in heading], [align(v, width) for v in values])


def _fitted(keys: list[_Column], rest: list[_Column], width: int) -> list[list[_Column]]:
    """Columns in blocks that fit the width, the keys in each; a block has one other at least."""
    blocks = [[*keys]]
    for column in rest:
        used = sum(each.width + len(GAP) for each in blocks[-1])
        if used + column.width > width and len(blocks[-1]) > len(keys):
            blocks.append([*keys])
        blocks[-1].append(column)
    return blocks


def _laid_out(block: list[_Column]) -> str:
    height = max(len(column.heading) for column in block)
    lines = [
        [" " * column.width] * (height - len(column.heading))
        + [*column.heading, "-" * column.width, *column.values]
        for column in block
    ]
    return "\n".join(GAP.join(row).rstrip() for row in zip(*lines, strict=True))
