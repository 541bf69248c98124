"""Where a command writes its tables and figures: into a folder, or to one file."""

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
"""Endings of what commands write, in the order in which they write it."""


@dataclass(frozen=True)
class Out:
    """The value of ``--out``, before it is known what the command writes.

    Parameters
    ----------
    path : Path
        Where to.
    folder : bool
        Whether it was written as a folder, with a separator at its end.
    """

    path: Path
    folder: bool = False

    @classmethod
    def read(cls, text: str) -> Out:
        """Read what was written on the command line; raise ValueError where it is no path."""
        # A hyphen means standard output elsewhere; no command here could mean it.
        if text in ("", "-") or "\0" in text:
            raise ValueError(text)
        return cls(as_path(text), text.endswith(("/", os.sep)))

    def __str__(self) -> str:
        return str(self.path)


FIGS = Out(Path("figs"))
"""Where figures go by default."""


@dataclass(frozen=True)
class Files:
    """What is written besides being printed.

    Parameters
    ----------
    out : path, optional
        Folder to write to, made if there is none; or the name of one file, with an ending that the
        command writes. By default nothing is written.
    """

    out: Out | None = None


@dataclass(frozen=True)
class Target:
    """A folder to write to, or one file in it.

    Parameters
    ----------
    folder : Path
        The folder; there may be none yet.
    name : str, optional
        Name of the file without its ending, where one was named.
    ending : str, optional
        Its ending, without the dot.
    """

    folder: Path
    name: str | None = None
    ending: str | None = None

    @classmethod
    def of(cls, out: Out, endings: Sequence[str]) -> Target:
        """Tell a folder from a file name, before any work.

        Parameters
        ----------
        out : Out
            What was asked for.
        endings : sequence of str
            Those of the files that the command writes, if it can be asked for one of them.

        Raises
        ------
        UsageError
            When it is neither a folder nor a file name with one of the endings.

        Examples
        --------
        >>> Target.of(Out(Path("a/fig.pdf")), FIGURES)
        Target(folder=PosixPath('a'), name='fig', ending='pdf')
        >>> Target.of(Out(Path("fig.jpg")), FIGURES)
        Traceback (most recent call last):
        isoklx.errors.UsageError: --out fig.jpg: give a folder, or a file name ending in .png, ...
        """
        path, ending = out.path, out.path.suffix.removeprefix(".")
        if ending in endings and not out.folder:
            if path.is_dir():
                raise UsageError(f"--out {path}: is a folder, in spite of its name; write {path}/")
            _refuse_file(path.parent)
            return cls(path.parent, path.stem, ending)
        # What looks like an ending is taken for one: figs.v2 is refused, sweep_0.5 is a folder.
        if out.folder or path.is_dir() or re.fullmatch(r"[0-9]*", ending):
            _refuse_file(path)
            return cls(path)
        names = ", ".join(f".{each}" for each in endings)
        file = f", or a file name ending in {names}" if endings else ": several files are written"
        hint = "" if path.exists() else f" ({path}/ is a folder of that name)"
        raise UsageError(f"--out {path}: give a folder{file}{hint}")

    def __str__(self) -> str:
        return str(self.folder if self.name is None else self.folder / f"{self.name}.{self.ending}")

    def among(self, endings: Sequence[str]) -> tuple[str, ...]:
        """Which of these endings are asked for: all, or that of the file if it is one of them."""
        return tuple(each for each in endings if self.ending in (None, each))

    def older(self, files: Mapping[str, Sequence[str]], written: Iterable[Path]) -> Iterator[Path]:
        """Find what lies beside the files of this run as if it were one of them.

        Parameters
        ----------
        files : mapping of str to sequence of str
            Names of what the command writes, each with all endings that it may have.
        written : iterable of Path
            What it has written.
        """
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
    """Print what was written, and what is of an earlier run; one line a file."""
    for path in written:
        print(f"wrote {printable(path)}", file=stream)
    for path in target.older(files, written):
        print(f"not of this run: {printable(path)}", file=stream)


def _refuse_file(folder: Path) -> None:
    """Refuse a folder that cannot be made, for a file is in its way."""
    for each in (folder, *folder.parents):
        if os.path.lexists(each):
            if not each.is_dir():
                raise UsageError(f"--out {folder}: {each} is a file, not a folder")
            return


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
    from isoklx.tables import saving

    if target is None:
        return []
    return saving.write_table(table, target.folder, target.name or name, target.among(TABLES))


def print_table(table: Table, *, json: bool) -> None:
    """Print a table: last of all, for whoever reads may go away at any line of it."""
    from isoklx.tables.table import as_json

    print(as_json(table) if json else _text(table))


def print_tables(tables: Mapping[str, Table], *, json: bool) -> None:
    """Print several tables, as JSON in one object that has each by its name."""
    from isoklx.tables.table import as_json_object, caption_text

    if json:
        print(as_json_object(tables))
        return
    # Of a table without rows the caption says so.
    texts = [
        caption_text(table, _width()) if table.frame.empty else _text(table)
        for table in tables.values()
    ]
    print("\n\n".join(texts))


def report_delivered(
    target: Target | None, written: list[Path], files: dict[str, Sequence[str]], *, json: bool
) -> None:
    """Say what was written, if anything was to be."""
    if target is None:
        return
    if not json:
        print()
    # With --json, standard output is for a program to read.
    report_written(target, written, files, sys.stderr if json else sys.stdout)


def _text(table: Table) -> str:
    from isoklx.tables.table import as_text

    return as_text(table, _width())


def _width() -> int:
    return shutil.get_terminal_size((WIDTH, 0)).columns
