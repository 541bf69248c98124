"""netCDF files that are read through one handle, however many Datasets a process opens of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from isoklx.errors import DatasetError

if TYPE_CHECKING:
    import netCDF4
    from xarray.backends import NetCDF4DataStore

Stamp = tuple[int, int]
"""Size of a file, and the time of its last change in nanoseconds."""

_readers: dict[tuple[str, Stamp], WeakSet[Any]] = {}
"""File managers that are in use, by file and version of the file."""


def open_shared(path: Path) -> tuple[NetCDF4DataStore, Callable[[], None]]:
    """Open a netCDF file for reading by xarray, sharing the handle with others that read it.

    With one handle for each Dataset, HDF5 reads strings from memory that it has freed as soon as
    one of them is closed: the next to open the file gets "HDF error", or the process ends
    (https://github.com/HDFGroup/hdf5/issues/3649).

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    store : NetCDF4DataStore
        What `xarray.open_dataset` takes. It can be pickled.
    close : callable
        Gives up this use of the handle, which is closed with its last use.

    Raises
    ------
    OSError, RuntimeError
        When it cannot be read, or is not netCDF.
    """
    from xarray.backends import CachingFileManager, NetCDF4DataStore  # takes long

    real = os.path.realpath(path)
    version = _stamp(real)
    manager: Any = CachingFileManager(_open, real, version, mode="r", manager_id="isoklx")
    store = NetCDF4DataStore(manager, mode="r")  # type: ignore[no-untyped-call]
    readers = _readers.setdefault((real, version), WeakSet())
    readers.add(manager)

    def close() -> None:
        readers.discard(manager)
        if not readers:
            _readers.pop((real, version), None)
            manager.close()

    return store, close


def _open(path: str, version: Stamp, mode: str) -> netCDF4.Dataset:
    """Open the file unless it has changed, for what is known of it would be wrong."""
    import netCDF4  # takes long

    if _stamp(path) != version:
        raise DatasetError(f"{path}: has changed since it was opened; open it again")
    return netCDF4.Dataset(path, mode)  # type: ignore[arg-type]


def _stamp(path: str) -> Stamp:
    found = Path(path).stat()
    return found.st_size, found.st_mtime_ns
