"""Output folders and files of the command line, and printing of tables."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from isoklx.errors import UsageError
from isoklx.system.paths import as_path
from isoklx.system.terminal import printable

if TYPE_CHECKING:
    from isoklx.tables.table import Table


TABLES = ("csv", "md", "tex")
FIGURES = ("png", "pdf", "svg")
BOTH = (*TABLES, *FIGURES)
"""Endings of the files that commands write, in order of writing."""


@dataclass(frozen=True)
class Out:
    """Value of ``--out``, before the endings that the command writes are known."""

    path: Path
    folder: bool = False  # written with a separator at its end

    @classmethod
    def read(cls, text: str) -> Out:
        """Read a path from the command line; raise ValueError where it is invalid."""
        # In other programs a hyphen means standard output; no command here writes files there.
        if text in ("", "-") or "\0" in text:
            raise ValueError(text)
        return cls(as_path(text), text.endswith(("/", os.sep)))

    def __str__(self) -> str:
        return str(self.path)


FIGS = Out(Path("figs"))
"""Default output folder of figures."""


@dataclass(frozen=True)
class Files:
    """Files written besides the printed output.

    Parameters
    ----------
    out : path, optional
        Output folder, created if absent, or one file name with an ending that the command supports.
        By default nothing is written.
    """

    out: Out | None = None


@dataclass(frozen=True)
class Target:
    """A folder to write to, or one file in it (`name` and `ending`, without the dot)."""

    folder: Path
    name: str | None = None
    ending: str | None = None

    @classmethod
    def of(cls, out: Out, endings: Sequence[str]) -> Target:
        """Tell a folder from a file name, before any work; raise UsageError for neither."""
        path, ending = out.path, out.path.suffix.removeprefix(".")
        if ending in endings and not out.folder:
            if path.is_dir():
                raise UsageError(
                    f"--out {path}: is an existing folder; write {path}/ to write into it"
                )
            _refuse_file(path.parent)
            return cls(path.parent, path.stem, ending)
        # A suffix with a letter counts as an ending: figs.v2 is refused, sweep_0.5 is a folder.
        if out.folder or path.is_dir() or re.fullmatch(r"[0-9]*", ending):
            _refuse_file(path)
            return cls(path)
        names = ", ".join(f".{each}" for each in endings)
        file = (
            f", or a file name ending in {names}"
            if endings
            else "; the command writes several files"
        )
        hint = "" if path.exists() else f" ({path}/ names a folder)"
        raise UsageError(f"--out {path}: must be a folder{file}{hint}")

    def __str__(self) -> str:
        return str(self.folder if self.name is None else self.folder / f"{self.name}.{self.ending}")

    def among(self, endings: Sequence[str]) -> tuple[str, ...]:
        """Return the endings to write: all of these, or only that of the named file."""
        return tuple(each for each in endings if self.ending in (None, each))

    def older(self, files: Mapping[str, Sequence[str]], written: Iterable[Path]) -> Iterator[Path]:
        """Yield files in the folder that an earlier run of the command wrote."""
        if self.name is None:
            made = set(written)
            paths = (self.folder / f"{name}.{end}" for name in files for end in files[name])
            yield from (path for path in paths if path not in made and path.exists())


def report_written(
    target: Target,
    written: Sequence[Path],
    files: Mapping[str, Sequence[str]],
    stream: TextIO | None = None,
) -> None:
    """Print the files written, and those of an earlier run, one per line."""
    for path in written:
        print(f"wrote {printable(path)}", file=stream)
    for path in target.older(files, written):
        print(f"from an earlier run: {printable(path)}", file=stream)


def _refuse_file(folder: Path) -> None:
    """Refuse a folder that cannot be made because a file is in its way."""
    for each in (folder, *folder.parents):
        if os.path.lexists(each):
            if not each.is_dir():
                raise UsageError(f"--out {folder}: {each} is a file, not a folder")
            return


WIDTH = 100
"""Columns of output that does not go to a terminal."""


@dataclass(frozen=True)
class Delivery(Files):
    """Output of a table: printed, as JSON, or in files.

    Parameters
    ----------
    json : bool
        Print the rows as JSON with full precision instead of a table.
    """

    json: bool = False

    def target(self, endings: Sequence[str]) -> Target | None:
        """Return the target of files with these endings; None where none are written."""
        return None if self.out is None else Target.of(self.out, endings)


def write_table(table: Table, name: str, target: Target | None) -> list[Path]:
    """Write a table if a target is given."""
    from isoklx.tables import saving

    if target is None:
        return []
    return saving.write_table(table, target.folder, target.name or name, target.among(TABLES))


def print_table(table: Table, *, json: bool) -> None:
    """Print a table; always the last step, because the reader of a pipe may close it."""
    from isoklx.tables.table import as_json

    print(as_json(table) if json else _text(table))


def print_tables(tables: Mapping[str, Table], *, json: bool) -> None:
    """Print several tables; as JSON, one object with each table by its name."""
    from isoklx.tables.table import as_json_object, caption_text

    if json:
        print(as_json_object(tables))
        return
    # The caption of a table without rows says that it has none.
    texts = [
        caption_text(table, _width()) if table.frame.empty else _text(table)
        for table in tables.values()
    ]
    print("\n\n".join(texts))


def report_delivered(
    target: Target | None, written: list[Path], files: dict[str, Sequence[str]], *, json: bool
) -> None:
    """Report the files written, if a target is given."""
    if target is None:
        return
    if not json:
        print()
    # With --json, standard output is one JSON document for other programs.
    report_written(target, written, files, sys.stderr if json else sys.stdout)


def _text(table: Table) -> str:
    from isoklx.tables.table import as_text

    return as_text(table, _width())


def _width() -> int:
    return shutil.get_terminal_size((WIDTH, 0)).columns
