"""Read the cells under runs roots, and collect the errors of unreadable ones."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from isoklx.cells.layout import Stamp, cell_folders, fingerprint, stamps
from isoklx.cells.reading import EVERY, Cell, Choice, Labels
from isoklx.errors import BuildError, CellError
from isoklx.sweeps.workers import Outcome, Task, perform_all
from isoklx.system.progress import progress

if TYPE_CHECKING:
    from distributed import Client

WORTH_A_WORKER = 16 * 2**20
"""Bytes of JSON per process above which another process saves time."""

NOTHING_KNOWN: Mapping[str, Cell] = {}


@dataclass
class Reading:
    """Result of reading runs roots."""

    cells: list[Cell] = field(default_factory=list)  # ascending by run_id
    skipped: list[CellError] = field(default_factory=list)  # one per unreadable folder
    # Known cells by run_id; True if their files have new stamps, so that the hashes were compared.
    reused: dict[str, bool] = field(default_factory=dict)


def read_roots(
    roots: Iterable[Path],
    spool: Path,
    *,
    choice: Choice = EVERY,
    dtype: str = "float32",
    jobs: int | None = None,
    known: Mapping[str, Cell] = NOTHING_KNOWN,
    client: Client | None = None,
    texts: bool = False,
) -> Reading:
    """Read every chosen cell under the roots; unchanged `known` cells are not parsed.

    `spool` is the folder for the measured arrays. `jobs` processes parse, by default one per core
    but only this one for little input; with a `client`, its workers parse, and must see roots and
    spool. Raises BuildError if no cell is left or the spool is full.
    """
    folders = cell_folders(roots)
    found = {folder: stamps(folder, texts=texts) for folder in folders}
    fresh = {folder for folder in folders if not _unchanged(found[folder], known.get(folder.name))}
    tasks = [
        Task(folder, dtype, choice, _hash(known.get(folder.name)), spool, texts)
        for folder in folders
        if folder in fresh
    ]
    size = sum(stamp[0] for folder in fresh for stamp in found[folder].values())
    if client is None:
        outcomes = perform_all(tasks, _processes(jobs, len(tasks), size), size)
    else:
        from isoklx.sweeps.distributed import perform_on

        outcomes = perform_on(client, tasks)
    reading, passed_over = Reading(), list[Labels]()
    with closing(outcomes):  # ends the worker processes, also on an error
        for folder in progress(folders, len(folders), "cells"):
            if folder in fresh:
                _record(next(outcomes), folder, known, reading, passed_over)
            elif choice.takes(known[folder.name].labels):
                reading.cells.append(replace(known[folder.name], folder=folder))
                reading.reused[folder.name] = False
            else:
                passed_over.append(known[folder.name].labels)
    if not reading.cells:
        raise BuildError(_why_nothing(reading.skipped, passed_over, choice))
    return reading


def _record(
    outcome: Outcome,
    folder: Path,
    known: Mapping[str, Cell],
    reading: Reading,
    passed_over: list[Labels],
) -> None:
    if isinstance(outcome, BuildError):
        raise outcome
    if isinstance(outcome, CellError):
        reading.skipped.append(outcome)
    elif isinstance(outcome, Cell):
        reading.cells.append(outcome)
    elif outcome.wanted:
        cell = replace(known[folder.name], folder=folder, stamps=outcome.stamps)
        reading.cells.append(cell)
        reading.reused[folder.name] = True
    else:
        passed_over.append(outcome.labels)


def _unchanged(found: Mapping[str, Stamp], cell: Cell | None) -> bool:
    return cell is not None and cell.stamps == found


def _hash(cell: Cell | None) -> str:
    if cell is None:
        return ""
    later = bool(cell.data["calib_newer"])
    return fingerprint(str(cell.data["source_hash"]), later, cell.texts_hash)


def _processes(jobs: int | None, cells: int, size: int) -> int:
    if jobs is None:
        jobs = min(_cores(), 1 + size // WORTH_A_WORKER)
    return max(min(jobs, cells), 1)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _why_nothing(skipped: list[CellError], passed_over: list[Labels], choice: Choice) -> str:
    """Explain why there is nothing to build."""
    if not passed_over:
        return f"none of {len(skipped)} cells can be read; first error: {skipped[0]}"
    asked = [] if choice.window is None else [f"window {choice.window}"]
    asked += [f"a model containing {choice.model_contains!r}"] if choice.model_contains else []
    there = {f"{labels['model']} at window {labels['window']}" for labels in passed_over}
    return f"no cell with {' and '.join(asked)}; available: {', '.join(sorted(there))}"
