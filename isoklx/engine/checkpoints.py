"""Checkpoints of a cell: its batches of rollouts on disk, until their doses are in the cell.

A cell is a fixed sequence of batches. Each batch is kept under its place in that sequence, so that
an interrupted run decodes only the missing ones and yields the numbers of an uninterrupted run.
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
    """Batches of one cell, kept in a folder that is made if needed.

    `made_with` is everything that decides their numbers, as JSON. MeasureError is raised if the
    folder has batches made with something else, BuildError if it cannot be written.
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
            self.forget("")  # leftovers of a run that was killed while removing its batches
            with replacing(described) as partial:
                partial.write_text(json.dumps(made_with, indent=1))
        elif difference := first_difference(before, made_with):
            raise MeasureError(f"{folder}: was begun with {difference}; remove it to start over")

    def has(self, name: str) -> bool:
        """Return whether the batch of that name is kept."""
        return self._path(name).is_file()

    def rollouts(self, name: str, make: Callable[[], Rollouts]) -> Rollouts:
        """Return the batch of that name, made and kept now if it is missing."""
        path = self._path(name)
        if path.is_file():
            return _read(path)
        made = make()
        with replacing(path) as partial, partial.open("wb") as file:
            np.savez(file, **_arrays(made))
        return made

    def forget(self, prefix: str) -> None:
        """Remove the batches whose names begin with `prefix`: their numbers are in the cell."""
        for path in self._folder.glob(f"{prefix}*.npz"):
            path.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.npz"

    def remove(self) -> None:
        """Remove all batches: the cell is complete."""
        remove_kept(self._folder)


def remove_kept(folder: Path) -> None:
    """Remove the batches of a complete cell, if any."""
    shutil.rmtree(folder, ignore_errors=True)


def first_difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Describe the first difference, as in 'batch 8, and not 4'; empty if equal."""
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
        raise MeasureError(f"{path}: cannot be read; remove it to measure it again") from error
    ends = np.cumsum(arrays["gen_len"])
    rows = np.split(arrays.pop("tokens"), ends[:-1])
    return Rollouts(token_ids=[row.tolist() for row in rows], kl=arrays.pop("kl", None), **arrays)
