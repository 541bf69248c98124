"""Runs roots to cells: every cell that can be read, and why the others cannot."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from isoklx.cells import EVERY, Cell, Choice, read_cell
from isoklx.errors import BuildError, CellError
from isoklx.progress import progress
from isoklx.roots import cell_folders


@dataclass(frozen=True)
class Reading:
    """What reading some runs roots gave.

    Parameters
    ----------
    cells : tuple of Cell
        Ascending by ``run_id``; at least one.
    skipped : tuple of CellError
        One for each folder that could not be read.
    """

    cells: tuple[Cell, ...]
    skipped: tuple[CellError, ...]


def read_roots(roots: Iterable[Path], *, choice: Choice = EVERY, dtype: str = "float32") -> Reading:
    """Read every cell under ``roots``.

    Parameters
    ----------
    roots : iterable of Path
        Runs roots.
    choice : Choice
        Which cells are wanted; by default every one.
    dtype : {"float32", "float64"}
        Storage of the measured arrays.

    Returns
    -------
    Reading
        The cells wanted. A cell that cannot be read is skipped, the others are read; a folder
        whose labels cannot be read counts as skipped whatever was wanted.

    Raises
    ------
    BuildError
        When no cell is left, or `isoklx.roots.cell_folders` finds none.
    """
    cells: list[Cell] = []
    skipped: list[CellError] = []
    passed_over: set[str] = set()
    for folder in progress(cell_folders(roots), "cells"):
        try:
            found = read_cell(folder, dtype=dtype, choice=choice)
        except CellError as error:
            skipped.append(error)
            continue
        if isinstance(found, Cell):
            cells.append(found)
        else:
            passed_over.add(f"{found.labels['model']} at window {found.labels['window']}")
    if not cells:
        raise BuildError(_nothing(skipped, passed_over, choice))
    return Reading(tuple(cells), tuple(skipped))


def _nothing(skipped: list[CellError], passed_over: set[str], choice: Choice) -> str:
    """Why there is nothing to build."""
    if not passed_over:
        return f"none of {len(skipped)} cells can be read; the first: {skipped[0]}"
    asked = [] if choice.window is None else [f"window {choice.window}"]
    asked += [f"a model containing {choice.model_contains!r}"] if choice.model_contains else []
    return f"no cell with {' and '.join(asked)}; there is {', '.join(sorted(passed_over))}"
