"""Pieces of Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    r"""Format a table; bars in cells are escaped.

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
    r"""Escape a text for Markdown.

    Examples
    --------
    >>> print(plain("c_star * alpha"))
    c\_star \* alpha
    """
    return re.sub(r"([\\`*_<>\[\]$])", r"\\\1", text)


def code(value: object) -> str:
    """Format a value as code."""
    return f"`{value}`"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in cells)} |"
