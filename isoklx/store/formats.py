"""Storage formats of a sweep, netCDF-4 and Zarr, chosen by the file name."""

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
    """Raise UsageError unless a sweep may be stored at `path`; `force` replaces other files."""
    if path.suffix not in (NETCDF, ZARR):
        raise UsageError(f"{path}: the file's name must end in {NETCDF} or {ZARR}")
    if path.suffix == ZARR:
        require_extra("zarr", f"{path}: Zarr")
    if path.is_dir() and not (path.suffix == ZARR and is_zarr(path)):
        raise UsageError(f"{path}: is a folder; give a file name")
    if path.suffix == ZARR and path.is_file():
        raise UsageError(f"{path}: is a file; a Zarr store is a folder")
    folder = (destination(path) if path.is_symlink() else path).parent
    if not folder.is_dir():
        raise UsageError(f"{path}: folder {folder} not found")
    if not force and path.exists() and not is_replaceable(path):
        raise UsageError(
            f"{path}: already exists, and is not known to be written by isoklx build; "
            "move it, or replace it with --force"
        )


def is_replaceable(path: Path) -> bool:
    """Return whether `path` is an empty file, or was written by a build or conversion."""
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
    except (OSError, RuntimeError):  # not a netCDF file
        return False


def write(
    cells: Sequence[Cell],
    path: Path,
    attributes: Mapping[str, object],
    write_blocks: WriteBlocks | None = None,
) -> None:
    """Write a sweep in the format of the file name; a failure leaves the previous file unchanged.

    `write_blocks` writes the blocks of a Zarr store elsewhere, such as on the workers of a
    scheduler. A netCDF file has a single writer, here.
    """
    # Both modules have slow imports.
    if path.suffix == NETCDF:
        from isoklx.store import netcdf

        netcdf.write_cells(cells, path, attributes)
    else:
        from isoklx.store import zarr as zarr_store

        zarr_store.write_cells(cells, path, attributes, write_blocks or zarr_store.write_here)


def is_zarr(path: Path) -> bool:
    """Return whether a folder is a Zarr store, of format 2 or 3."""
    return any((path / file).is_file() for file in (".zgroup", "zarr.json"))


def zarr_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the global attributes of a Zarr store, with the dtype that JSON cannot express."""
    version = attributes.get("schema_version")
    return {**attributes, "schema_version": np.int32(version)} if version else dict(attributes)


def size(path: Path) -> int:
    """Return the bytes of a file, or of all files of a Zarr store."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
