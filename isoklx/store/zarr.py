"""Write cells to a Zarr store in blocks that several processes can write at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import xarray as xr
import zarr

from isoklx import schema
from isoklx.cells.reading import Cell
from isoklx.store import dataset
from isoklx.store.arrays_on_disk import drop_in_memory
from isoklx.store.dataset import Alignment, assemble, blocks, chunk_shape, storage_dtype, texts_of
from isoklx.system.atomic import replacing

CHUNK = 2**20
"""Minimum bytes of a chunk, if there are enough cells; each chunk is a file."""

FORMAT = 2
"""Zarr format. Unlike format 3, it specifies text and consolidated metadata."""


@dataclass(frozen=True)
class Block:
    """Cells that fill whole chunks of one variable, so that blocks never share a file."""

    store: Path  # the variable already exists in it
    alignment: Alignment
    name: str
    start: int  # index of the first cell
    cells: Sequence[Cell]

    def write(self) -> None:
        """Write the block; repeating this changes nothing."""
        values = self.alignment.placed(self.name, self.cells)
        # A chunk without numbers takes no space and reads as the fill value, NaN.
        out = zarr.open_array(self.store / self.name, mode="r+")
        out[self.start : self.start + len(self.cells)] = values


WriteBlocks = Callable[[Iterable[Block]], None]
"""Function that writes blocks, in any order, here or elsewhere."""


def write_here(blocks: Iterable[Block]) -> None:
    """Write blocks one after another, in this process."""
    for block in blocks:
        block.write()


def write_cells(
    cells: Sequence[Cell],
    path: Path,
    attributes: Mapping[str, object],
    write_blocks: WriteBlocks = write_here,
) -> None:
    """Write a sweep as a Zarr store, with the measured arrays of only a few cells in memory.

    Cells are sorted by ``run_id``. The store appears under its name only when it is complete; a
    failure leaves the previous one unchanged.
    """
    cells = sorted(cells, key=lambda cell: cell.labels["run_id"])
    with replacing(path) as partial:
        shapes = _create(cells, partial, attributes)
        write_blocks(_blocks(cells, partial, shapes))


def _create(
    cells: Sequence[Cell], path: Path, attributes: Mapping[str, object]
) -> dict[str, tuple[int, ...]]:
    """Create the store without the measured values; return the chunk shapes of their arrays."""
    ds = assemble(cells, _unwritten).assign_attrs(attributes)
    encoding: dict[str, dict[str, Any]] = {}
    for name, var in {**schema.VARIABLES, **texts_of(cells)}.items():
        encoding[name] = {"_FillValue": var.fill}  # None means none, instead of xarray's default
        if not var.measured and var.dtype != "str":
            encoding[name]["dtype"] = var.dtype
        if name in _in_blocks(cells):
            encoding[name]["chunks"] = chunk_shape(ds[name].shape, ds[name].dtype.itemsize, CHUNK)
    ds.to_zarr(path, mode="w-", encoding=encoding, compute=False, zarr_format=FORMAT)
    entries = xr.Dataset({dataset.VARIABLE: ("cell", list(map(dataset.entry_of, cells)))})
    entries.to_zarr(path, group=dataset.GROUP, zarr_format=FORMAT)
    return {name: encoding[name]["chunks"] for name in _in_blocks(cells)}


def _in_blocks(cells: Sequence[Cell]) -> list[str]:
    """Return the names of the large numeric variables."""
    return [*schema.MEASURED, *(["token_chars"] if texts_of(cells) else [])]


def _unwritten(alignment: Alignment, name: str, cells: Sequence[Cell]) -> Any:
    dtype = storage_dtype(name, cells)
    if dtype == "O":
        return alignment.placed(name, cells)
    shape = (len(cells), *alignment.shape(name))
    return dask.array.zeros(shape, dtype=dtype, chunks=-1)


def _blocks(
    cells: Sequence[Cell], store: Path, chunks: Mapping[str, tuple[int, ...]]
) -> Iterator[Block]:
    alignment = Alignment.of(cells)
    light = [drop_in_memory(cell) for cell in cells]
    for name in _in_blocks(cells):
        length = chunks[name][0]
        if not np.prod(alignment.shape(name)):
            continue
        for start, side_by_side in blocks(light, length):
            yield Block(store, alignment, name, start, side_by_side)
