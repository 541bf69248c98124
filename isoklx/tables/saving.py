"""Files of a table: CSV, Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from isoklx.errors import BuildError
from isoklx.system.atomic import replacing
from isoklx.system.paths import as_path
from isoklx.tables.latex import as_latex
from isoklx.tables.table import Table, as_csv, as_markdown

WRITERS = {"csv": as_csv, "md": as_markdown, "tex": as_latex}


def write_table(
    table: Table,
    folder: str | Path,
    name: str,
    formats: Sequence[str] = ("csv", "md", "tex"),
) -> list[Path]:
    """Write a table as ``name.csv``, ``name.md`` and ``name.tex``; each is replaced as a whole."""
    folder = as_path(folder)
    if not formats:
        return []
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BuildError(f"{folder}: cannot create the folder: {error.strerror}") from error
    written = []
    for each in formats:
        path = folder / f"{name}.{each}"
        with replacing(path) as partial:
            partial.write_bytes(WRITERS[each](table).encode())
        written.append(path)
    return written
