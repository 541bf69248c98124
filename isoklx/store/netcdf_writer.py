"""Cells to a netCDF-4 file, a few at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np

from isoklx import schema
from isoklx.cells.atomic import replacing
from isoklx.cells.cell import Cell
from isoklx.store import manifest
from isoklx.store.alignment import Alignment, cell_label, measured_dtype, texts_of
from isoklx.store.chunks import blocks, chunk_shape

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
        entries = file.createGroup(manifest.GROUP).createVariable(manifest.VARIABLE, str, "cell")
        _fill(entries, np.array([manifest.entry_of(cell) for cell in cells]))


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
