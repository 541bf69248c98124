"""The errors that a user of isoklx can cause, each of them one clear line."""

from __future__ import annotations

from pathlib import Path


class IsoklxError(Exception):
    """What every error raised on purpose derives from; its text is one line for the user."""


class UsageError(IsoklxError):
    """The caller asked for something impossible: a wrong flag, value, label or option."""


class DatasetError(IsoklxError):
    """A Dataset or a file is not a sweep, or lacks what the request needs."""


class BuildError(IsoklxError):
    """A sweep could not be built or written; whatever was there before is untouched."""


class MeasureError(IsoklxError):
    """A model cannot be measured, or not rightly: the message says what disagrees."""


class CellError(IsoklxError):
    """One cell's folder cannot be read; the message names folder, file, place and reason.

    Parameters
    ----------
    folder : Path
        The cell's folder.
    file : str
        Name of the offending file inside it; empty when the folder itself is at fault.
    reason : str
        What is wrong, with the place inside the file and the offending value.
    """

    def __init__(self, folder: Path, file: str, reason: str) -> None:
        self.folder = folder
        self.file = file
        self.reason = reason
        super().__init__(f"{folder / file}: {reason}")

    def __reduce__(self) -> tuple[type[CellError], tuple[Path, str, str]]:
        # Exceptions are rebuilt from their arguments when they cross a process boundary.
        return CellError, (self.folder, self.file, self.reason)
