"""Write cells to a netCDF-4 file, a few at a time."""

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
    """Open a netCDF file for reading, apart from other handles of the process.

    HDF5 shares one file between all handles of a process, and with it the memory that strings are
    read from. After one handle has read strings and closed, the next open reads freed memory and
    the process crashes (https://github.com/HDFGroup/hdf5/issues/3649). A memory image is a separate
    file. It is mapped, so that unread parts take no memory.
    """
    import netCDF4  # slow import

    with path.open("rb") as file:
        # Closed by its last reference: netCDF4 keeps one where opening fails.
        image = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    with netCDF4.Dataset(path, memory=image) as dataset:
        yield dataset


CHUNK = 64 * 2**10
"""Minimum bytes of a chunk, if there are enough cells."""

PADDING_WORTH_COMPRESSING = 0.2
"""Share of padding above which the measured arrays are compressed.

KL hardly compresses. On the cells measured for this project, zlib with shuffle shrinks the file by
29% and takes a quarter of the time of parsing; higher levels shrink it no further. Padding alone
compresses to almost nothing.
"""


def write_cells(cells: Sequence[Cell], path: Path, attributes: Mapping[str, object]) -> None:
    """Write a sweep as netCDF-4, with the measured arrays of only a few cells in memory.

    Cells are sorted by ``run_id``. The file appears under its name only when it is complete; a
    failure leaves the previous one unchanged.
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
        options["fletcher32"] = True  # a changed byte becomes an error, not a number
    out = file.createVariable(name, dtype, var.dims, fill_value=var.fill, **options)
    out.set_auto_maskandscale(False)
    out.setncatts(var.attributes)
    if name not in schema.COORDINATES and "cell" in var.dims:
        out.coordinates = " ".join(schema.CELL_LABELS)
    return out


def _fill(variable: netCDF4.Variable[Any], values: Any) -> None:
    # netCDF4 would write fixed-width text as single characters.
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
            # Chunks that are never written take no space and read as the fill value, NaN.
            for alpha in np.flatnonzero(np.isfinite(values).any(axis=(0, 2, 3))):
                out[start : start + len(block), alpha] = values[:, alpha]


def _texts(file: netCDF4.Dataset, alignment: Alignment, cells: Sequence[Cell]) -> None:
    shape = (len(cells), *alignment.shape("token_chars"))
    # Small numbers, which compress well.
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
    """Return whether so much padding of the grid is stored that it should be compressed."""
    filled = sum(math.prod(cell.shapes[name]) for cell in cells)
    return filled < (1 - PADDING_WORTH_COMPRESSING) * math.prod(shape)
