"""A table as LaTeX, for a paper."""

from __future__ import annotations

import re
import unicodedata

from pandas.api.types import is_numeric_dtype
from tabulate import LATEX_ESCAPE_RULES, tabulate

from isoklx.system.terminal import printable
from isoklx.tables.table import Table, shown

POWER, END = "\ue000", "\ue001"
"""Around the exponent of a power of ten; `printable` leaves neither in other people's text."""

SYMBOLS = {
    **{"\N{MINUS SIGN}": "-", "\N{PLUS-MINUS SIGN}": r"\pm", "\N{MULTIPLICATION SIGN}": r"\times"},
    **{"\N{LESS-THAN OR EQUAL TO}": r"\leq", "\N{GREATER-THAN OR EQUAL TO}": r"\geq"},
    **{"\N{ALMOST EQUAL TO}": r"\approx", "\N{INFINITY}": r"\infty", "\N{MICRO SIGN}": r"\mu"},
}

CAPITALS = "ΓΔΘΛΞΠΣΥΦΨΩ"
"""Greek capitals that have a command, as they look like no Latin ones."""


def as_latex(table: Table) -> str:
    r"""Write a LaTeX table in the style of booktabs, with the caption.

    Parameters
    ----------
    table : Table
        The table.

    Returns
    -------
    str
        A ``table`` environment, which needs ``\usepackage{booktabs}``. Numbers are rounded as by
        `isoklx.tables.table.readable`; nothing stands where there is none. What LaTeX would take
        for a command is escaped; letters of other scripts than Greek may need XeLaTeX or LuaLaTeX.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"method": ["mean_diff"], "effect": [-0.25]})
    >>> print(as_latex(Table(frame, ("method",), "100% of 2 cells.")), end="")
    % needs \usepackage{booktabs}
    \begin{table}
    \centering
    \caption{100\% of 2 cells.}
    \begin{tabular}{lr}
    \toprule
     method     &   effect \\
    \midrule
     mean\_diff &  \ensuremath{-}0.2500 \\
    \bottomrule
    \end{tabular}
    \end{table}
    """
    values = shown(table, text=printable, missing="")
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
    # Without rows tabulate aligns no column.
    rows = rows.replace("{tabular}{}", f"{{tabular}}{{{''.join(each[0] for each in align)}}}", 1)
    caption = "".join(LATEX_ESCAPE_RULES.get(char, char) for char in printable(table.caption))
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{caption.translate(_WRITTEN_OUT)}}}",
        rows.translate(_WRITTEN_OUT),
        r"\end{table}",
    ]
    return "\n".join([*lines, ""])


def _typeset(value: str) -> str:
    """A number with a minus sign and a power of ten; other values as they are."""
    if not (found := re.fullmatch(r"(-?[\d.]+)(?:e([+-]\d+))?", value)):
        return value
    power = "" if found[2] is None else f"{POWER}{int(found[2])}{END}"
    return f"{found[1]}{power}".replace("-", "\N{MINUS SIGN}")


def _greek() -> dict[str, str]:
    """Greek letters and their commands; Unicode spells lambda otherwise."""
    small = [char for char in map(chr, range(0x3B1, 0x3CA)) if char not in "ος"]
    commands = {}
    for char in (*small, *CAPITALS):
        name = unicodedata.name(char).rpartition(" ")[2].lower().replace("lamda", "lambda")
        commands[char] = f"\\{name.capitalize() if char in CAPITALS else name}"
    return commands


_WRITTEN_OUT = str.maketrans(
    {
        **{char: rf"\ensuremath{{{name}}}" for char, name in (SYMBOLS | _greek()).items()},
        **{"[": "{[}", "*": "{*}", "|": r"\textbar{}"},
        POWER: r"\ensuremath{\times10^{",
        END: "}}",
    }
)
"""What tabulate leaves: a bracket or star that follows the end of a line would be its option."""
