"""A cell's files: which there are, their bytes, and the hash that stands for them."""

from __future__ import annotations

import codecs
import hashlib
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import jiter

from isoklx.errors import BuildError, CellError

CALIBRATION = "calib.json"
"""The file that makes a folder a cell that was at least calibrated."""

TRAJECTORY = "trajectory.json"
PMASS = "pmass.json"
HISTORY = "history.json"
RESULTS = "results.csv"

GENERATIONS = "gens.jsonl"
"""One generation a line; texts are read on request."""

VECTOR = "vector.safetensors"
"""What the cell was steered with; recheck reads it."""

FILES = (CALIBRATION, TRAJECTORY, PMASS, HISTORY, RESULTS)
"""The files of a cell, in the order in which the hash takes them."""

BEING_WRITTEN = "being written"
"""Why a file is not read that changes meanwhile: a later reading will find it whole."""

UNREADABLE = "cannot be read"
"""How the reason begins where the system refuses to read a file: the file is as it was."""

Stamp = tuple[int, int]
"""Size in bytes and time of change in nanoseconds: equal stamps mean equal content."""

AT_ONCE = 2 * 10**9
"""Nanoseconds within which files may have been written in any order, as copies of a folder are."""


def stamps(folder: Path, *, texts: bool = False) -> dict[str, Stamp]:
    """The stamp of every file that a cell's folder has now, and of its texts' if that is read."""
    found = {}
    for file in (*FILES, GENERATIONS) if texts else FILES:
        try:
            status = (folder / file).stat()
        except OSError:
            continue  # reading it says what is wrong with it
        found[file] = (status.st_size, status.st_mtime_ns)
    return found


def calibrated_later(found: Mapping[str, Stamp]) -> bool:
    """Whether the calibration is newer than all results, which it would have made.

    Examples
    --------
    >>> calibrated_later({"calib.json": (99, 60 * 10**9), "results.csv": (99, 0)})
    True
    """
    results = [found[file][1] for file in (TRAJECTORY, PMASS, RESULTS) if file in found]
    return bool(results) and found[CALIBRATION][1] > max(results) + AT_ONCE


def fingerprint(source_hash: str, later: bool, texts_hash: str | None = None) -> str:
    """All that a cell is read from: the content of its files, and `calibrated_later`."""
    texts = "" if texts_hash is None else f" texts {texts_hash}"
    return f"{source_hash}{' later' * later}{texts}"


@dataclass
class Sources:
    """The bytes of a cell's files: each is read once, parsed once and hashed once.

    Parameters
    ----------
    folder : Path
        The cell's folder.
    """

    folder: Path
    _contents: dict[str, bytes] = field(default_factory=dict)
    stamps: dict[str, Stamp] = field(default_factory=dict)

    def read(self, *files: str) -> None:
        """Take in files; one that is absent is passed over.

        Raises
        ------
        CellError
            When one cannot be read, is no regular file, or changes meanwhile.
        """
        for file in files:
            try:
                self._take(file)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise CellError(self.folder, file, f"{UNREADABLE}: {error.strerror}") from error

    def settle(self) -> None:
        """Raise CellError if a file has changed, come or gone since it was read."""
        now = stamps(self.folder)
        for file in FILES:
            if now.get(file) != self.stamps.get(file):
                raise CellError(self.folder, file, BEING_WRITTEN)

    def bytes(self, file: str) -> bytes | None:
        """Return a file's content, less a byte order mark; None where there is none."""
        content = self._contents.get(file)
        return None if content is None else content.removeprefix(codecs.BOM_UTF8)

    def json(self, file: str) -> object:
        """Return a JSON file's content; None where there is no file."""
        content = self.bytes(file)
        if content is None:
            return None
        try:
            parsed: object = jiter.from_json(content, catch_duplicate_keys=True)
        except ValueError as error:
            reason = f"not JSON, or half written: {_brief(error)}"
            raise CellError(self.folder, file, reason) from error
        if parsed is None:
            raise CellError(self.folder, file, "holds null, not an object")
        return parsed

    def texts_digest(self) -> str:
        """Return the SHA-256 of the texts' file in hexadecimal; empty where it was not read."""
        content = self._contents.get(GENERATIONS)
        return "" if content is None else hashlib.sha256(content).hexdigest()

    def digest(self) -> str:
        """Return the SHA-256 over name, size and bytes of each file, in hexadecimal."""
        digest = hashlib.sha256()
        for file in FILES:
            content = self._contents.get(file)
            if content is not None:
                digest.update(f"{file}\0{len(content)}\0".encode())
                digest.update(content)
        return digest.hexdigest()

    def _take(self, file: str) -> None:
        path = self.folder / file
        # Opening a fifo would wait for a writer, so look before and after.
        if not stat.S_ISREG(path.stat().st_mode):
            raise CellError(self.folder, file, "not a regular file")
        with path.open("rb") as opened:
            status = os.fstat(opened.fileno())
            content = opened.read()
        if len(content) != status.st_size:
            raise CellError(self.folder, file, BEING_WRITTEN)
        self._contents[file] = content
        self.stamps[file] = (status.st_size, status.st_mtime_ns)


def _brief(error: Exception) -> str:
    """What the parser says, whatever the file made it quote: its end says where."""
    text = str(error)
    return text if len(text) <= 160 else f"{text[:77]}...{text[-80:]}"


def cell_folders(roots: Iterable[Path]) -> list[Path]:
    """Every cell's folder under ``roots``, ascending by name.

    A cell is a folder, or a link to one, whose name starts with neither ``_`` nor ``.``; a link
    that leads nowhere counts, so that reading it reports it. The order does not depend on the
    file system.

    Parameters
    ----------
    roots : iterable of Path
        Runs roots.

    Returns
    -------
    list of Path
        At least one folder.

    Raises
    ------
    BuildError
        When a root is no folder or holds no cell, or when two cells share a name.
    """
    found: dict[str, Path] = {}
    for root in roots:
        for folder in _cells_of(root):
            other = found.setdefault(folder.name, folder)
            if other is not folder:
                raise BuildError(f"two cells are called {folder.name}: {other} and {folder}")
    return [found[name] for name in sorted(found)]


def _cells_of(root: Path) -> list[Path]:
    try:
        folders = _folders_of(root)
    except OSError as error:
        raise BuildError(f"{root}: cannot be listed: {error.strerror}") from error
    if not folders:
        raise BuildError(f"{root}: no cell here (a cell is a folder with {CALIBRATION})")
    if not any(_exists(folder / CALIBRATION) for folder in folders):
        nested = sorted(entry.parent.parent for entry in root.glob(f"*/*/{CALIBRATION}"))
        if nested:
            raise BuildError(f"{root}: no cell here, but some one level down, in {nested[0]}")
    return folders


def _folders_of(root: Path) -> list[Path]:
    if not root.exists():
        raise BuildError(f"{root}: there is no such folder")
    if not root.is_dir():
        raise BuildError(f"{root}: not a folder of cells, but a file")
    if (root / CALIBRATION).is_file():
        raise BuildError(f"{root}: this is one cell; the runs root is {root.resolve().parent}")
    return [entry for entry in root.iterdir() if _may_be_cell(entry)]


def _may_be_cell(entry: Path) -> bool:
    if entry.name.startswith(("_", ".")):
        return False
    return entry.is_dir() or (entry.is_symlink() and not entry.exists())


def _exists(path: Path) -> bool:
    """Whether a file is there for all that this process may know."""
    try:
        return path.exists()
    except OSError:
        return False
