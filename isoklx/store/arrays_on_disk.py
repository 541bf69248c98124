"""Arrays of cells kept in a temporary file while a sweep is built or read."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from isoklx import schema
from isoklx.cells.reading import Cell
from isoklx.errors import DatasetError
from isoklx.store.dataset import texts_of


@dataclass(frozen=True)
class SpooledArrays(Mapping[str, Any]):
    """Arrays of a cell; large ones are read from disk on each access."""

    held: Mapping[str, Any]  # small arrays, in memory
    path: Path
    places: Mapping[str, tuple[int, tuple[int, ...]]]  # offset in bytes, and shape
    dtype: str  # of measured arrays

    def __getitem__(self, name: str) -> Any:
        if name not in self.places:
            return self.held[name]
        try:
            return self._read(name)
        except FileNotFoundError as error:
            raise DatasetError(
                f"{self.path.parent}: the temporary files of this runs root were deleted; open "
                "the root again, or build a file and open that"
            ) from error

    def _read(self, name: str) -> Any:
        offset, shape = self.places[name]
        var, count = schema.ANY[name], math.prod(shape)
        if var.dtype == "str":
            with self.path.open("rb") as file:
                file.seek(offset)
                return np.array(json.loads(file.readline()), dtype=object).reshape(shape)
        dtype = self.dtype if var.measured else var.dtype
        return np.fromfile(self.path, dtype, count=count, offset=offset).reshape(shape)

    def __iter__(self) -> Iterator[str]:
        yield from self.held
        yield from self.places

    def __len__(self) -> int:
        return len(self.held) + len(self.places)


def spooled(cell: Cell, path: Path) -> Cell:
    """Append a cell's measured arrays and texts to a file, and return the cell without them."""
    places: dict[str, tuple[int, tuple[int, ...]]] = {}
    with path.open("ab") as file:
        for name in (*schema.MEASURED, *texts_of([cell])):
            places[name] = (file.tell(), cell.shapes[name])
            values = cell.data[name]
            if values.dtype == object:
                file.write(json.dumps(values.ravel().tolist()).encode() + b"\n")
            else:
                file.write(values.data)  # unlike tofile, this reports the reason of a failure
    held = {name: values for name, values in cell.data.items() if name not in places}
    return replace(cell, data=SpooledArrays(held, path, places, cell.dtype))


def drop_in_memory(cell: Cell) -> Cell:
    """Return the cell with only its arrays on disk, which is little to send to a worker."""
    return replace(cell, data=replace(cell.data, held={}))  # type: ignore[type-var]
