"""Runs roots to cells: every cell that can be read, and why the others cannot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from isoklx.cells import Cell, read_cell
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


def read_roots(
    roots: Iterable[Path],
    *,
    window: int | None = None,
    model_contains: str = "",
    dtype: str = "float32",
) -> Reading:
    """Read every cell under ``roots``.

    Parameters
    ----------
    roots : iterable of Path
        Runs roots.
    window : int, optional
        Only cells of this window, in tokens.
    model_contains : str
        Only cells whose ``model`` contains this text; case counts.
    dtype : {"float32", "float64"}
        Storage of the measured arrays.

    Returns
    -------
    Reading
        The cells asked for. A cell that cannot be read is skipped, the others are read; a folder
        whose labels cannot be read counts as skipped whatever was asked for.

    Raises
    ------
    BuildError
        When no cell is left, or `isoklx.roots.cell_folders` finds none.
    """
    passed_over: set[str] = set()

    def wanted(labels: Mapping[str, str | int]) -> bool:
        fits = window in (None, labels["window"]) and model_contains in str(labels["model"])
        if not fits:
            passed_over.add(f"{labels['model']} at window {labels['window']}")
        return fits

    cells: list[Cell] = []
    skipped: list[CellError] = []
    for folder in progress(cell_folders(roots), "cells"):
        try:
            cell = read_cell(folder, dtype=dtype, wanted=wanted)
        except CellError as error:
            skipped.append(error)
        else:
            cells += [] if cell is None else [cell]
    if not cells:
        raise BuildError(_nothing(skipped, passed_over, window, model_contains))
    return Reading(tuple(cells), tuple(skipped))


def _nothing(
    skipped: list[CellError], passed_over: set[str], window: int | None, model_contains: str
) -> str:
    """Why there is nothing to build."""
    if passed_over:
        asked = [] if window is None else [f"window {window}"]
        asked += [f"a model containing {model_contains!r}"] if model_contains else []
        there = ", ".join(sorted(passed_over))
        return f"no cell with {' and '.join(asked)}; there is {there}"
    return f"none of {len(skipped)} cells can be read; the first: {skipped[0]}"
