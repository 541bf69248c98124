"""A cell's files: which there are, their bytes, and the hash that stands for them."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import jiter

from isoklx.errors import CellError

CALIBRATION = "calib.json"
"""The file that makes a folder a cell that was at least calibrated."""

TRAJECTORY = "trajectory.json"
PMASS = "pmass.json"
HISTORY = "history.json"
RESULTS = "results.csv"


class Sources:
    """The bytes of a cell's files: each is read once, parsed once and hashed once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._hash = hashlib.sha256()

    def bytes(self, file: str) -> bytes | None:
        """Return a regular file's content; None where there is none."""
        path = self._folder / file
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                raise CellError(self._folder, file, "not a regular file")
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CellError(self._folder, file, f"cannot be read: {error.strerror}") from error
        self._hash.update(f"{file}\0{len(content)}\0".encode())
        self._hash.update(content)
        return content

    def json(self, file: str) -> object:
        """Return a JSON file's content; None where there is no file."""
        content = self.bytes(file)
        if content is None:
            return None
        try:
            parsed: object = jiter.from_json(content, catch_duplicate_keys=True)
        except ValueError as error:
            raise CellError(self._folder, file, f"not JSON, or half written: {error}") from error
        if parsed is None:
            raise CellError(self._folder, file, "holds null, not an object")
        return parsed

    def digest(self) -> str:
        """Return the SHA-256 of everything read so far, in hexadecimal."""
        return self._hash.hexdigest()
