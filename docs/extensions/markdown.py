"""Pieces of Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    r"""A table; a bar in a cell is escaped.

    Examples
    --------
    >>> print(table(("name", "meaning"), [("kl", "KL(steered || base)")]))
    | name | meaning |
    | --- | --- |
    | kl | KL(steered \|\| base) |
    """
    head = list(head)
    return "\n".join(_row(line) for line in (head, ["---"] * len(head), *rows))


def plain(text: str) -> str:
    r"""A text that means nothing but itself.

    Examples
    --------
    >>> print(plain("c_star * alpha"))
    c\_star \* alpha
    """
    return re.sub(r"([\\`*_<>\[\]$])", r"\\\1", text)


def code(value: object) -> str:
    """A value as it is written in code."""
    return f"`{value}`"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in cells)} |"
