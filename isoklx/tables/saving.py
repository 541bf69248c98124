"""A table's files: for a spreadsheet, a document and a paper."""

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
    """Write a table as comma-separated values, as Markdown and as LaTeX.

    Each file is replaced as a whole or left as it was.

    Parameters
    ----------
    table : Table
        The table.
    folder : path
        Where to; it is made if there is none.
    name : str
        Name of the files without their suffix.
    formats : sequence of {"csv", "md", "tex"}
        Suffixes of those to write.

    Returns
    -------
    list of Path
        ``name.csv``, ``name.md`` and ``name.tex`` in `folder`, in UTF-8, in the order of `formats`.

    Raises
    ------
    BuildError
        When the folder cannot be made, or a file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> import pandas as pd
    >>> table = Table(pd.DataFrame({"method": ["pca"], "n": [3]}), ("method",), "n = 3.")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [path.name for path in write_table(table, Path(folder) / "tables", "table")]
    ['table.csv', 'table.md', 'table.tex']
    """
    folder = as_path(folder)
    if not formats:
        return []
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BuildError(f"{folder}: cannot be made a folder: {error.strerror}") from error
    written = []
    for each in formats:
        path = folder / f"{name}.{each}"
        with replacing(path) as partial:
            partial.write_bytes(WRITERS[each](table).encode())
        written.append(path)
    return written
