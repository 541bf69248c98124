"""How a table reaches its reader: printed, as JSON, and in files."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from isoklx.cli.outputs import TABLES, Files, Target, say_written

if TYPE_CHECKING:
    from isoklx.tables.formats import Table

WIDTH = 100
"""Columns, where the output is no terminal."""


@dataclass(frozen=True)
class Delivery(Files):
    """How a table reaches its reader.

    Parameters
    ----------
    json : bool
        Print the rows as JSON, with all digits, instead.
    """

    json: bool = False

    def target(self, endings: Sequence[str]) -> Target | None:
        """Where files with these endings are written, if they are."""
        return None if self.out is None else Target.of(self.out, endings)


def write_table(table: Table, name: str, target: Target | None) -> list[Path]:
    """Write a table, if it is asked for."""
    from isoklx.tables import files

    if target is None:
        return []
    return files.write_table(table, target.folder, target.name or name, target.among(TABLES))


def print_table(table: Table, *, json: bool) -> None:
    """Print a table: last of all, for whoever reads may go away at any line of it."""
    from isoklx.tables.formats import as_json

    print(as_json(table) if json else _text(table))


def print_tables(tables: Mapping[str, Table], *, json: bool) -> None:
    """Print several tables, as JSON in one object that has each by its name."""
    from isoklx.tables.formats import as_json_object, caption_text

    if json:
        print(as_json_object(tables))
        return
    # Of a table without rows the caption says so.
    texts = [
        caption_text(table, _width()) if table.frame.empty else _text(table)
        for table in tables.values()
    ]
    print("\n\n".join(texts))


def say_delivered(
    target: Target | None, written: list[Path], files: dict[str, Sequence[str]], *, json: bool
) -> None:
    """Say what was written, if anything was to be."""
    if target is None:
        return
    if not json:
        print()
    # With --json, standard output is for a program to read.
    say_written(target, written, files, sys.stderr if json else sys.stdout)


def _text(table: Table) -> str:
    from isoklx.tables.formats import as_text

    return as_text(table, _width())


def _width() -> int:
    return shutil.get_terminal_size((WIDTH, 0)).columns
