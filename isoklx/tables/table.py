"""Tables as CSV, Markdown, JSON, and text for a terminal."""

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
"""Characters that begin a formula in spreadsheets, full-width ones too."""

HEADING = 8
"""Width, in characters, up to which a heading is not wrapped."""


@dataclass(frozen=True)
class Table:
    """Rows with keys, the first columns, which are never rounded, and a caption that states n."""

    frame: pd.DataFrame
    keys: tuple[str, ...]
    caption: str


def as_csv(table: Table) -> str:
    """Write comma-separated values (RFC 4180) in full precision, without the caption."""
    safe = table.frame.copy()
    for name in safe:
        if not is_numeric_dtype(safe[name]):
            safe[name] = safe[name].map(_without_formula, na_action="ignore")
    return safe.to_csv(index=False, lineterminator="\r\n")


def as_json(table: Table) -> str:
    """Write a list of rows, each an object by column name, in ASCII and full precision."""
    return json.dumps(_rows(table), indent=2, allow_nan=False)


def as_json_object(tables: Mapping[str, Table]) -> str:
    """Write several tables as one object that maps each name to rows as in `as_json`."""
    rows = {name: _rows(table) for name, table in tables.items()}
    return json.dumps(rows, indent=2, allow_nan=False)


def as_markdown(table: Table) -> str:
    """Write the caption and a Markdown table; numbers as `readable` rounds them."""
    values = format_values(table, text=_without_markup, missing="")
    numeric = [is_numeric_dtype(table.frame[name]) for name in table.frame]
    align = ["right" if each else "left" for each in numeric]
    # Otherwise tabulate reformats text that looks like a number.
    markdown = values.to_markdown(index=False, disable_numparse=True, colalign=align)
    return f"{table.caption}\n\n{markdown}\n"


def as_text(table: Table, width: int) -> str:
    """Lay a table out for a terminal; columns that do not fit continue below, beside the keys."""
    values = format_values(table, text=printable, missing="-")
    columns = [_column(values[name], right=is_numeric_dtype(table.frame[name])) for name in values]
    blocks = _split_into_blocks(columns[: len(table.keys)], columns[len(table.keys) :], width)
    return "\n\n".join([caption_text(table, width), *map(_join_lines, blocks)])


def caption_text(table: Table, width: int) -> str:
    """Wrap the caption for a terminal without breaking paths at hyphens."""
    return textwrap.fill(table.caption, width, break_on_hyphens=False)


def readable(table: Table) -> pd.DataFrame:
    """Format every value: intervals to two significant digits of their half width, others to four.

    Keys and whole numbers are exact. Missing values are empty. Control characters are removed.

    Examples
    --------
    >>> readable(Table(pd.DataFrame({"c_mean": [1.23456, None]}), (), ""))["c_mean"].tolist()
    ['1.235', '']
    >>> effect = {"effect": [-0.14812], "effect_lower": [-0.18731], "effect_upper": [-0.10903]}
    >>> readable(Table(pd.DataFrame(effect), (), "")).iloc[0].tolist()
    ['-0.148', '-0.187', '-0.109']
    """
    return format_values(table, text=printable, missing="")


def _rows(table: Table) -> list[dict[str, Any]]:
    return [
        {str(name): value if _is_present(value) else None for name, value in row.items()}
        for row in table.frame.to_dict("records")
    ]


def format_values(table: Table, text: Callable[[object], str], missing: str) -> pd.DataFrame:
    """Format every value as text; `text` escapes strings, `missing` replaces absent values."""
    found = pd.DataFrame(index=table.frame.index)
    decimals = _decimals(table.frame)
    for name, column in table.frame.items():
        exact = name in table.keys or (_all_whole(column) and name not in decimals)
        numbers: Iterable[Callable[[float], str]] = repeat(_exact if exact else _rounded)
        if not exact and name in decimals:
            numbers = [_rounded if d is None else partial(_fixed, d) for d in decimals[str(name)]]
        found[name] = [
            _readable(value, text, number) if _is_present(value) else missing
            for value, number in zip(column.astype(object), numbers, strict=False)
        ]
    return found


def _decimals(frame: pd.DataFrame) -> dict[str, list[int | None]]:
    """Choose the decimals, row by row, of each estimate followed by its lower and upper bound."""
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
    """Return the decimals at which half the width has two significant digits, if it has a size."""
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
    """Format with four significant digits; only zero becomes 0."""
    if number == 0:
        return "0"
    # Show all digits before the decimal point, as in numbers of tokens.
    return f"{number:.0f}" if 1e4 <= abs(number) < 1e9 else f"{number:#.4g}".removesuffix(".")


def _all_whole(column: pd.Series[Any]) -> bool:
    return is_float_dtype(column) and bool((column.dropna() % 1 == 0).all())


def _is_present(value: Any) -> bool:
    """Return whether JSON can hold a value: neither missing nor infinite."""
    return not (pd.isna(value) or (isinstance(value, float) and math.isinf(value)))


def _without_formula(text: object) -> str:
    """Precede text that a spreadsheet would take for a formula with an apostrophe."""
    safe = printable(text)
    return f"'{safe}" if safe.lstrip().startswith(FORMULA) else safe


def _without_markup(text: object) -> str:
    """Escape characters that mean something to Markdown, or to LaTeX within it."""
    # Leave underscores between letters, as in names: they are not markup.
    return re.sub(r"[\\`*\[\]<>|$~&#!]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", printable(text))


@dataclass(frozen=True)
class _Column:
    """A column as lines of text of equal width: heading and values."""

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


def _split_into_blocks(keys: list[_Column], rest: list[_Column], width: int) -> list[list[_Column]]:
    """Divide columns into blocks that fit the width: the keys and at least one other in each."""
    blocks = [[*keys]]
    for column in rest:
        used = sum(each.width + len(GAP) for each in blocks[-1])
        if used + column.width > width and len(blocks[-1]) > len(keys):
            blocks.append([*keys])
        blocks[-1].append(column)
    return blocks


def _join_lines(block: list[_Column]) -> str:
    height = max(len(column.heading) for column in block)
    lines = [
        [" " * column.width] * (height - len(column.heading))
        + [*column.heading, "-" * column.width, *column.values]
        for column in block
    ]
    return "\n".join(GAP.join(row).rstrip() for row in zip(*lines, strict=True))
