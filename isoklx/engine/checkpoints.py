"""Batches of rollouts kept on disk until their doses are in the cell.

A cell is a fixed sequence of batches. What has been rolled out is kept under its place in that
sequence, so that a run that was interrupted goes through the sequence again and decodes only what
is missing: the numbers are those of a run that was left alone.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from isoklx.engine.rollouts import Rollouts
from isoklx.errors import BuildError, MeasureError
from isoklx.system.atomic import replacing

MADE_WITH = "made_with.json"


class KeptBatches:
    """The batches of one cell.

    Parameters
    ----------
    folder : Path
        Where they are kept; made if there is none.
    made_with : mapping
        All that decides their numbers, as JSON can hold it.

    Raises
    ------
    MeasureError
        When batches are there that were made with something else.
    BuildError
        When the folder cannot be written.
    """

    def __init__(self, folder: Path, made_with: Mapping[str, Any]) -> None:
        self._folder = folder
        described = folder / MADE_WITH
        try:
            folder.mkdir(parents=True, exist_ok=True)
            before = json.loads(described.read_text()) if described.is_file() else None
        except OSError as error:
            raise BuildError(f"{folder}: cannot be written: {error.strerror}") from error
        except ValueError as error:
            raise MeasureError(f"{described}: cannot be read; remove {folder}") from error
        if before is None:
            self.forget("")  # of a cell whose batches were being removed when its run was killed
            with replacing(described) as partial:
                partial.write_text(json.dumps(made_with, indent=1))
        elif difference := first_difference(before, made_with):
            raise MeasureError(f"{folder}: was begun with {difference}; remove it to begin anew")

    def has(self, name: str) -> bool:
        """Whether the batch of that name was kept."""
        return self._path(name).is_file()

    def rollouts(self, name: str, make: Callable[[], Rollouts]) -> Rollouts:
        """The batch of that name: as it was kept, or made now and kept."""
        path = self._path(name)
        if path.is_file():
            return _read(path)
        made = make()
        with replacing(path) as partial, partial.open("wb") as file:
            np.savez(file, **_arrays(made))
        return made

    def forget(self, prefix: str) -> None:
        """Remove the batches whose names begin so; their numbers are in the cell now."""
        for path in self._folder.glob(f"{prefix}*.npz"):
            path.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.npz"

    def remove(self) -> None:
        """Remove all of them: the cell is complete."""
        remove_kept(self._folder)


def remove_kept(folder: Path) -> None:
    """Remove the batches of a cell that is complete, if there are any."""
    shutil.rmtree(folder, ignore_errors=True)


def first_difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The first thing that was otherwise, in words; empty where nothing was.

    Examples
    --------
    >>> first_difference({"window": 64, "batch": 8}, {"window": 64, "batch": 4})
    'batch 8, and not 4'
    """
    for name in dict.fromkeys((*before, *now)):
        was, is_now = before.get(name), now.get(name)
        if isinstance(was, Mapping) and isinstance(is_now, Mapping):
            if inner := first_difference(was, is_now):
                return f"{name} {inner}"
        elif was != is_now:
            return f"{name} {_brief(was)}, and not {_brief(is_now)}"
    return ""


def _brief(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _arrays(made: Rollouts) -> dict[str, Any]:
    tokens = np.array([token for row in made.token_ids for token in row], np.int64)
    arrays = {name: getattr(made, name) for name in ("gen_len", "pmass", "p_true", "top_id")}
    return {"tokens": tokens, **arrays, **({} if made.kl is None else {"kl": made.kl})}


def _read(path: Path) -> Rollouts:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            arrays = {name: kept[name] for name in kept.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise MeasureError(f"{path}: cannot be read; remove it to make it anew") from error
    ends = np.cumsum(arrays["gen_len"])
    rows = np.split(arrays.pop("tokens"), ends[:-1])
    return Rollouts(token_ids=[row.tolist() for row in rows], kl=arrays.pop("kl", None), **arrays)
