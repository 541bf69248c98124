"""A netCDF file as an image of its bytes, apart from whoever else has it open in this process."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import netCDF4


@contextmanager
def opened_apart(path: Path) -> Iterator[netCDF4.Dataset]:
    """Open a netCDF file to read it, whether or not it is open already.

    HDF5 lends one file to all who open it in a process, and with it the place that strings are
    read from; where one of them has read strings and closed it, the next to open it reads what is
    freed, and the process ends (https://github.com/HDFGroup/hdf5/issues/3649). An image of the
    file is a file of its own. It is mapped, not read: what is not asked for takes no memory.

    Parameters
    ----------
    path : Path
        The file.

    Yields
    ------
    netCDF4.Dataset
        For reading only; closed at the end.

    Raises
    ------
    OSError, ValueError
        When it cannot be read, is empty, or is not netCDF.
    """
    import netCDF4  # takes long

    with path.open("rb") as file:
        # Closes when nobody has it any more: netCDF4 holds on to what it could not open.
        image = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    with netCDF4.Dataset(path, memory=image) as dataset:
        yield dataset
