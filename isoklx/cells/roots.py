"""Runs roots: which folders under them are cells."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from isoklx.cells.sources import CALIBRATION
from isoklx.errors import BuildError


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
