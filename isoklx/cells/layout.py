"""Names, bytes and hashes of a cell's files."""

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
"""The file that every cell has, from its calibration on."""

TRAJECTORY = "trajectory.json"
PMASS = "pmass.json"
HISTORY = "history.json"
RESULTS = "results.csv"

GENERATIONS = "gens.jsonl"
"""One rollout per line; read on request."""

VECTOR = "vector.safetensors"
"""Steering vectors of the cell, which recheck reads."""

FILES = (CALIBRATION, TRAJECTORY, PMASS, HISTORY, RESULTS)
"""Files of a cell, in the order in which they are hashed."""

BEING_WRITTEN = "being written"
"""Reason for skipping a file that changes while it is read; a later reading finds it complete."""

UNREADABLE = "cannot be read"
"""Start of the reason where the operating system refuses to read a file."""

Stamp = tuple[int, int]
"""Size in bytes and modification time in nanoseconds; equal stamps mean equal content."""

AT_ONCE = 2 * 10**9
"""Tolerance for modification times in nanoseconds: copying a folder writes files in any order."""


def stamps(folder: Path, *, texts: bool = False) -> dict[str, Stamp]:
    """Return the stamp of every existing file of a cell, and optionally of gens.jsonl."""
    found = {}
    for file in (*FILES, GENERATIONS) if texts else FILES:
        try:
            status = (folder / file).stat()
        except OSError:
            continue  # reading the file reports the error
        found[file] = (status.st_size, status.st_mtime_ns)
    return found


def calibrated_later(found: Mapping[str, Stamp]) -> bool:
    """Return whether calib.json is newer than every result file (results may then be stale)."""
    results = [found[file][1] for file in (TRAJECTORY, PMASS, RESULTS) if file in found]
    return bool(results) and found[CALIBRATION][1] > max(results) + AT_ONCE


def fingerprint(source_hash: str, later: bool, texts_hash: str | None = None) -> str:
    """Combine everything that determines the result of reading a cell into one string."""
    texts = "" if texts_hash is None else f" texts {texts_hash}"
    return f"{source_hash}{' later' * later}{texts}"


@dataclass
class Sources:
    """Bytes of a cell's files, each read, parsed and hashed once."""

    folder: Path
    _contents: dict[str, bytes] = field(default_factory=dict)
    stamps: dict[str, Stamp] = field(default_factory=dict)

    def read(self, *files: str) -> None:
        """Read files and skip absent ones; raise CellError where one cannot be read."""
        for file in files:
            try:
                self._take(file)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise CellError(self.folder, file, f"{UNREADABLE}: {error.strerror}") from error

    def settle(self) -> None:
        """Raise CellError if a file was changed, created or deleted since it was read."""
        now = stamps(self.folder)
        for file in FILES:
            if now.get(file) != self.stamps.get(file):
                raise CellError(self.folder, file, BEING_WRITTEN)

    def bytes(self, file: str) -> bytes | None:
        """Return a file's content without byte order mark; None where the file is absent."""
        content = self._contents.get(file)
        return None if content is None else content.removeprefix(codecs.BOM_UTF8)

    def json(self, file: str) -> object:
        """Return a JSON file's content; None where the file is absent."""
        content = self.bytes(file)
        if content is None:
            return None
        try:
            parsed: object = jiter.from_json(content, catch_duplicate_keys=True)
        except ValueError as error:
            reason = f"not JSON, or half written: {_brief(error)}"
            raise CellError(self.folder, file, reason) from error
        if parsed is None:
            raise CellError(self.folder, file, "must be an object, got null")
        return parsed

    def texts_digest(self) -> str:
        """Return the SHA-256 of gens.jsonl in hexadecimal; empty where it was not read."""
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
        # Opening a fifo would wait for a writer, so check before opening and again after reading.
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
    """Shorten a parser's message, which may quote the file; its end tells the position."""
    text = str(error)
    return text if len(text) <= 160 else f"{text[:77]}...{text[-80:]}"


def cell_folders(roots: Iterable[Path]) -> list[Path]:
    """Return every cell's folder in the runs roots, sorted by name.

    A cell is a folder, or a link to one, whose name starts with neither ``_`` nor ``.``. A broken
    link counts, so that reading it reports it. Raise BuildError where a root is not a folder of
    cells, or two cells share a name.
    """
    found: dict[str, Path] = {}
    for root in roots:
        for folder in _cells_of(root):
            other = found.setdefault(folder.name, folder)
            if other is not folder:
                raise BuildError(f"two cells have the name {folder.name}: {other} and {folder}")
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
        raise BuildError(f"{root}: folder not found")
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
    """Return whether a file exists; False where this process may not look."""
    try:
        return path.exists()
    except OSError:
        return False
