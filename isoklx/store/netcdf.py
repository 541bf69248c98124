"""Cells to a netCDF-4 file, a few at a time."""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import netCDF4
import numpy as np

from isoklx import schema
from isoklx.cells.reading import Cell
from isoklx.store import dataset
from isoklx.store.dataset import (
    Alignment,
    blocks,
    cell_label,
    chunk_shape,
    measured_dtype,
    texts_of,
)
from isoklx.system.atomic import replacing

if TYPE_CHECKING:
    import netCDF4


@contextmanager
def open_in_memory(path: Path) -> Iterator[netCDF4.Dataset]:
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


CHUNK = 64 * 2**10
"""Bytes that a chunk has at least, if there are cells enough."""

PADDING_WORTH_COMPRESSING = 0.2
"""Share of padding above which the measured arrays are compressed.

KL is noise to a compressor. On the cells measured for this project, zlib with shuffle takes 29%
off the file and a quarter of the time that parsing takes by then, most of a build on two cores;
higher levels take no more off. Padding alone compresses to nothing.
"""


def write_cells(cells: Sequence[Cell], path: Path, attributes: Mapping[str, object]) -> None:
    """Write a sweep as netCDF-4, holding the measured arrays of a few cells in memory.

    Parameters
    ----------
    cells : sequence of Cell
        At least one; they become ascending by ``run_id``. Their ``data`` is read as it is needed.
    path : Path
        The file, which appears under its name only when it is complete and on disk.
    attributes : mapping
        The file's global attributes.

    Raises
    ------
    BuildError
        When the file cannot be written; what was there before is untouched.
    """
    cells = sorted(cells, key=lambda cell: cell.labels["run_id"])
    alignment = Alignment.of(cells)
    with replacing(path) as partial, netCDF4.Dataset(partial, "w", format="NETCDF4") as file:
        file.setncatts(attributes)
        file.createDimension("cell", len(cells))
        for dim, labels in alignment.labels.items():
            file.createDimension(dim, labels.size)
            _create(file, dim)[:] = labels
        for name in schema.CELL_LABELS:
            _fill(_create(file, name), cell_label(name, cells))
        for name, var in schema.DATA.items():
            if not var.measured:
                _fill(_create(file, name), alignment.placed(name, cells))
        _measured(file, alignment, cells)
        if texts_of(cells):
            _texts(file, alignment, cells)
        entries = file.createGroup(dataset.GROUP).createVariable(dataset.VARIABLE, str, "cell")
        _fill(entries, np.array([dataset.entry_of(cell) for cell in cells]))


def _create(file: netCDF4.Dataset, name: str, **options: Any) -> netCDF4.Variable[Any]:
    var = schema.ANY[name]
    dtype = options.pop("dtype", str if var.dtype == "str" else var.dtype)
    if dtype is not str:
        options["fletcher32"] = True  # so that a byte that changed is an error, and not a number
    out = file.createVariable(name, dtype, var.dims, fill_value=var.fill, **options)
    out.set_auto_maskandscale(False)
    out.setncatts(var.attributes)
    if name not in schema.COORDINATES and "cell" in var.dims:
        out.coordinates = " ".join(schema.CELL_LABELS)
    return out


def _fill(variable: netCDF4.Variable[Any], values: Any) -> None:
    # A text of fixed width would be written as single characters.
    variable[:] = values.astype(object) if values.dtype.kind == "U" else values


def _measured(file: netCDF4.Dataset, alignment: Alignment, cells: Sequence[Cell]) -> None:
    dtype = measured_dtype(cells)
    for name in schema.MEASURED:
        shape = (len(cells), *alignment.shape(name))
        chunks = chunk_shape(shape, np.dtype(dtype).itemsize, CHUNK)
        options = (
            {"zlib": True, "complevel": 1, "shuffle": True} if _padded(shape, name, cells) else {}
        )
        out = _create(file, name, dtype=dtype, chunksizes=chunks, **options)
        for start, block in blocks(cells, chunks[0]):
            values = alignment.placed(name, block)
            # What was never written is not stored, and reads as the fill value, NaN.
            for alpha in np.flatnonzero(np.isfinite(values).any(axis=(0, 2, 3))):
                out[start : start + len(block), alpha] = values[:, alpha]


def _texts(file: netCDF4.Dataset, alignment: Alignment, cells: Sequence[Cell]) -> None:
    shape = (len(cells), *alignment.shape("token_chars"))
    # Small numbers, which compress to a fraction.
    chunks = chunk_shape(shape, np.dtype("int16").itemsize, CHUNK)
    out = _create(file, "token_chars", chunksizes=chunks, zlib=True, complevel=1, shuffle=True)
    for start, block in blocks(cells, chunks[0]):
        out[start : start + len(block)] = alignment.placed("token_chars", block)
    for name in ("prompt_text", "gen_text"):
        out = _create(file, name)
        for i, cell in enumerate(cells):
            _fill_row(out, i, alignment.placed(name, [cell])[0])


def _fill_row(variable: netCDF4.Variable[Any], index: int, values: Any) -> None:
    if values.size:
        variable[index] = values


def _padded(shape: tuple[int, ...], name: str, cells: Sequence[Cell]) -> bool:
    """Whether padding is worth compressing: the grid's, not that of rollouts which ended early."""
    filled = sum(math.prod(cell.shapes[name]) for cell in cells)
    return filled < (1 - PADDING_WORTH_COMPRESSING) * math.prod(shape)
