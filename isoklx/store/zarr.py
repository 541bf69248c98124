"""Cells to a Zarr store, block by block, so that several processes can write at once."""

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
"""Bytes that a chunk has at least, if there are cells enough: each one is a file."""

FORMAT = 2
"""Of Zarr. Text and consolidated metadata are part of it, as they are not of format 3."""


@dataclass(frozen=True)
class Block:
    """Cells that fill whole chunks of one variable, so that no two blocks touch the same file.

    Parameters
    ----------
    store : Path
        The Zarr store, in which the variable exists.
    alignment : Alignment
        The labels of the whole sweep.
    name : str
        A measured variable.
    start : int
        Index of the first of the cells.
    cells : sequence of Cell
        Side by side; their ``data`` is read where the block is written.
    """

    store: Path
    alignment: Alignment
    name: str
    start: int
    cells: Sequence[Cell]

    def write(self) -> None:
        """Write the block; a second time changes nothing."""
        values = self.alignment.placed(self.name, self.cells)
        # A chunk without a number is not stored, and reads as the fill value, NaN.
        out = zarr.open_array(self.store / self.name, mode="r+")
        out[self.start : self.start + len(self.cells)] = values


WriteBlocks = Callable[[Iterable[Block]], None]
"""Writes blocks, in any order, here or elsewhere."""


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
    """Write a sweep as a Zarr store, holding the measured arrays of a few cells in memory.

    Parameters
    ----------
    cells : sequence of Cell
        At least one; they become ascending by ``run_id``. Their ``data`` is read as it is needed.
    path : Path
        The store's folder, which appears under its name only when it is complete.
    attributes : mapping
        The store's global attributes.
    write_blocks : callable
        Writes blocks, in any order, here or elsewhere.

    Raises
    ------
    BuildError
        When the store cannot be written; what was there before is untouched.
    """
    cells = sorted(cells, key=lambda cell: cell.labels["run_id"])
    with replacing(path) as partial:
        shapes = _create(cells, partial, attributes)
        write_blocks(_blocks(cells, partial, shapes))


def _create(
    cells: Sequence[Cell], path: Path, attributes: Mapping[str, object]
) -> dict[str, tuple[int, ...]]:
    """Everything but the measured values, for which there is room; the shapes of their chunks."""
    ds = assemble(cells, _unwritten).assign_attrs(attributes)
    encoding: dict[str, dict[str, Any]] = {}
    for name, var in {**schema.VARIABLES, **texts_of(cells)}.items():
        encoding[name] = {"_FillValue": var.fill}  # None is none, and not xarray's own
        if not var.measured and var.dtype != "str":
            encoding[name]["dtype"] = var.dtype
        if name in _in_blocks(cells):
            encoding[name]["chunks"] = chunk_shape(ds[name].shape, ds[name].dtype.itemsize, CHUNK)
    ds.to_zarr(path, mode="w-", encoding=encoding, compute=False, zarr_format=FORMAT)
    entries = xr.Dataset({dataset.VARIABLE: ("cell", list(map(dataset.entry_of, cells)))})
    entries.to_zarr(path, group=dataset.GROUP, zarr_format=FORMAT)
    return {name: encoding[name]["chunks"] for name in _in_blocks(cells)}


def _in_blocks(cells: Sequence[Cell]) -> list[str]:
    """What is large and of numbers."""
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
