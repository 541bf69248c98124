"""Tables in LaTeX."""

from __future__ import annotations

import re
import unicodedata

from pandas.api.types import is_numeric_dtype
from tabulate import LATEX_ESCAPE_RULES, tabulate

from isoklx.system.terminal import printable
from isoklx.tables.table import Table, format_values

POWER, END = "\ue000", "\ue001"
"""Marks around the exponent of a power of ten; `printable` removes both from input text."""

SYMBOLS = {
    **{"\N{MINUS SIGN}": "-", "\N{PLUS-MINUS SIGN}": r"\pm", "\N{MULTIPLICATION SIGN}": r"\times"},
    **{"\N{LESS-THAN OR EQUAL TO}": r"\leq", "\N{GREATER-THAN OR EQUAL TO}": r"\geq"},
    **{"\N{ALMOST EQUAL TO}": r"\approx", "\N{INFINITY}": r"\infty", "\N{MICRO SIGN}": r"\mu"},
}

CAPITALS = "ΓΔΘΛΞΠΣΥΦΨΩ"
"""Greek capitals with a command of their own: LaTeX sets the others as Latin letters."""


def as_latex(table: Table) -> str:
    """Write a LaTeX table in the style of booktabs, with caption and rounded numbers."""
    values = format_values(table, text=printable, missing="")
    numeric = [is_numeric_dtype(table.frame[name]) for name in table.frame]
    for name, is_number in zip(values, numeric, strict=True):
        if is_number:
            values[name] = [_typeset(value) for value in values[name]]
    align = ["right" if each else "left" for each in numeric]
    rows = tabulate(
        values.to_numpy().tolist(),
        headers=[str(name).replace("_", " ") for name in values],
        tablefmt="latex_booktabs",
        disable_numparse=True,
        colalign=align if len(values) else None,
    )
    # tabulate aligns columns only in a table with rows.
    rows = rows.replace("{tabular}{}", f"{{tabular}}{{{''.join(each[0] for each in align)}}}", 1)
    caption = "".join(LATEX_ESCAPE_RULES.get(char, char) for char in printable(table.caption))
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{caption.translate(_ESCAPES)}}}",
        rows.translate(_ESCAPES),
        r"\end{table}",
    ]
    return "\n".join([*lines, ""])


def _typeset(value: str) -> str:
    """Mark the minus sign and the power of ten of a number; leave other values unchanged."""
    if not (found := re.fullmatch(r"(-?[\d.]+)(?:e([+-]\d+))?", value)):
        return value
    power = "" if found[2] is None else f"{POWER}{int(found[2])}{END}"
    return f"{found[1]}{power}".replace("-", "\N{MINUS SIGN}")


def _greek() -> dict[str, str]:
    """Map Greek letters to their commands; Unicode spells lambda differently."""
    small = [char for char in map(chr, range(0x3B1, 0x3CA)) if char not in "ος"]
    commands = {}
    for char in (*small, *CAPITALS):
        name = unicodedata.name(char).rpartition(" ")[2].lower().replace("lamda", "lambda")
        commands[char] = f"\\{name.capitalize() if char in CAPITALS else name}"
    return commands


_ESCAPES = str.maketrans(
    {
        **{char: rf"\ensuremath{{{name}}}" for char, name in (SYMBOLS | _greek()).items()},
        **{"[": "{[}", "*": "{*}", "|": r"\textbar{}"},
        POWER: r"\ensuremath{\times10^{",
        END: "}}",
    }
)
"""Characters that tabulate leaves: a bracket or star after a line end would be its option."""
