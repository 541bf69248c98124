"""Command lines among the examples of a docstring, for the page that shows it."""

from __future__ import annotations

from itertools import groupby
from typing import Any


def as_literal_blocks(lines: list[str]) -> list[str]:
    """Let lines that start with a prompt of the shell stand as they are.

    Examples
    --------
    >>> as_literal_blocks(["Examples", "--------", "$ isoklx info a.nc", "$ isoklx info b.nc"])
    ['Examples', '--------', '::', '', '    $ isoklx info a.nc', '    $ isoklx info b.nc', '']
    """
    found: list[str] = []
    for shell, group in groupby(lines, key=lambda line: line.startswith("$ ")):
        lead, indent = (["::", ""], "    ") if shell else ([], "")
        found += [*lead, *(indent + line for line in group), *[""] * shell]
    return found


def process(*event: Any) -> None:
    """Change the lines of a docstring that autodoc is about to show."""
    lines = event[-1]
    lines[:] = as_literal_blocks(lines)
