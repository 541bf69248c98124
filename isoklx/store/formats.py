"""The formats that a sweep is stored in, told by the name of the file: netCDF-4 and Zarr."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isoklx.cells.reading import Cell
from isoklx.errors import UsageError
from isoklx.store import dataset
from isoklx.store.netcdf import open_in_memory
from isoklx.system.atomic import destination
from isoklx.system.extras import require_extra

if TYPE_CHECKING:
    from isoklx.store.zarr import WriteBlocks

NETCDF, ZARR = ".nc", ".zarr"


def check_target(path: Path, *, force: bool = False) -> None:
    """Raise UsageError unless a sweep may be stored there: a mistake is found before any work.

    Parameters
    ----------
    path : Path
        Where it is to be stored.
    force : bool
        It may take the place of whatever file or store is there; otherwise only of what
        `isoklx.build` or a conversion wrote.
    """
    if path.suffix not in (NETCDF, ZARR):
        raise UsageError(f"{path}: the file's name must end in {NETCDF} or {ZARR}")
    if path.suffix == ZARR:
        require_extra("zarr", f"{path}: Zarr")
    if path.is_dir() and not (path.suffix == ZARR and is_zarr(path)):
        raise UsageError(f"{path}: is a folder; the file needs a name of its own")
    if path.suffix == ZARR and path.is_file():
        raise UsageError(f"{path}: is a file; a Zarr store is a folder")
    folder = (destination(path) if path.is_symlink() else path).parent
    if not folder.is_dir():
        raise UsageError(f"{path}: there is no folder {folder}")
    if not force and path.exists() and not is_replaceable(path):
        raise UsageError(
            f"{path}: is there, and not known to be written by isoklx build; "
            "move it, or --force replaces it"
        )


def is_replaceable(path: Path) -> bool:
    """Whether what is there may be replaced unasked.

    Parameters
    ----------
    path : Path
        A file, or the folder of a Zarr store.

    Returns
    -------
    bool
        True for what a build or a conversion wrote, which has a manifest, and for an empty file.
    """
    if path.is_dir():
        arrays = path / dataset.GROUP / dataset.VARIABLE
        return any((arrays / file).is_file() for file in (".zarray", "zarr.json"))
    if not path.is_file():
        return False
    if path.stat().st_size == 0:
        return True
    try:
        with open_in_memory(path) as file:
            group = file.groups.get(dataset.GROUP)
            return group is not None and dataset.VARIABLE in group.variables
    except (OSError, RuntimeError):  # whatever it is
        return False


def write(
    cells: Sequence[Cell],
    path: Path,
    attributes: Mapping[str, object],
    write_blocks: WriteBlocks | None = None,
) -> None:
    """Write a sweep in the format that its name stands for.

    Parameters
    ----------
    cells : sequence of Cell
        At least one; their ``data`` is read as it is needed.
    path : Path
        A file ending in ``.nc``, or a folder ending in ``.zarr``.
    attributes : mapping
        The global attributes.
    write_blocks : callable, optional
        Writes the blocks of a Zarr store somewhere else, as at a scheduler's workers; a netCDF file
        has a single writer, here.

    Raises
    ------
    BuildError
        When it cannot be written; what was there before is untouched.
    """
    # Each needs what takes long to import.
    if path.suffix == NETCDF:
        from isoklx.store import netcdf

        netcdf.write_cells(cells, path, attributes)
    else:
        from isoklx.store import zarr as zarr_store

        zarr_store.write_cells(cells, path, attributes, write_blocks or zarr_store.write_here)


def is_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr store, of either format."""
    return any((path / file).is_file() for file in (".zgroup", "zarr.json"))


def zarr_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The global attributes of a Zarr store, with the dtype that its JSON has no word for."""
    version = attributes.get("schema_version")
    return {**attributes, "schema_version": np.int32(version)} if version else dict(attributes)


def size(path: Path) -> int:
    """Bytes of a file, or of all files of a Zarr store."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
