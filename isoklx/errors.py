"""Errors that a user of isoklx can cause; the text of each is one clear line."""

from __future__ import annotations

from pathlib import Path


class IsoklxError(Exception):
    """Base class of every error that isoklx raises on purpose; its text is one line."""


class UsageError(IsoklxError, ValueError):
    """The request is invalid (a wrong flag, value, label or option); also a ValueError."""


class DatasetError(IsoklxError):
    """A Dataset or file is not a sweep, or lacks a variable that the request needs."""


class BuildError(IsoklxError):
    """A sweep could not be built or written; the previous file is unchanged."""


class MeasureError(IsoklxError):
    """A model could not be measured correctly; the message says what disagrees."""


class CellError(IsoklxError):
    """A cell's folder could not be read; the message names folder, file, place and reason.

    Parameters
    ----------
    folder : Path
        The cell's folder.
    file : str
        Name of the offending file in the folder; empty when the folder itself is at fault.
    reason : str
        The place in the file, the offending value and what is wrong with it.
    """

    def __init__(self, folder: Path, file: str, reason: str) -> None:
        self.folder = folder
        self.file = file
        self.reason = reason
        super().__init__(f"{folder / file}: {reason}")

    def __reduce__(self) -> tuple[type[CellError], tuple[Path, str, str]]:
        # Pickling rebuilds an exception from its arguments when it crosses a process boundary.
        return CellError, (self.folder, self.file, self.reason)
