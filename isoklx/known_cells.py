"""The cells of a file that was built before, to be taken over unread."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np

import isoklx
from isoklx import manifest, schema
from isoklx.cells import Cell
from isoklx.errors import BuildError


@contextmanager
def known_cells(path: Path, dtype: str) -> Iterator[tuple[dict[str, Cell], dict[str, Any]]]:
    """Lend the cells of a built file, by ``run_id``, and the file's global attributes.

    Parameters
    ----------
    path : Path
        The file; it is open as long as the block lasts.
    dtype : {"float32", "float64"}
        Storage of the measured arrays that is wanted.

    Yields
    ------
    cells, attributes : dict
        Both empty when there is no file, or none that this version of the package would have
        written the same: then everything has to be read anew.
    """
    try:
        file = netCDF4.Dataset(path)
    except OSError:
        yield {}, {}
        return
    with file:
        file.set_auto_maskandscale(False)
        attributes = {name: file.getncattr(name) for name in file.ncattrs()}
        yield (_cells(file, path), attributes) if _reusable(file, attributes, dtype) else ({}, {})


@dataclass(frozen=True)
class StoredArrays(Mapping[str, Any]):
    """One cell's arrays in a file, without the padding.

    Parameters
    ----------
    file : netCDF4.Dataset
        Holds the measured arrays.
    held : mapping
        The other variables, over all cells.
    index : int
        The cell's.
    shapes : mapping of str to tuple of int
        Of its arrays.
    positions : mapping of str to ndarray
        Where along ``alpha`` and ``fork`` its own labels lie.
    """

    file: netCDF4.Dataset
    held: Mapping[str, Any]
    index: int
    shapes: Mapping[str, tuple[int, ...]]
    positions: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        try:
            values = (self.held[name] if name in self.held else self.file[name])[self.index]
        except RuntimeError as error:
            place = self.file.filepath()
            raise BuildError(f"{place}: damaged at {name}; --force builds it anew") from error
        own = [
            self.positions[dim][:length] if dim in self.positions else np.arange(length)
            for dim, length in zip(schema.DATA[name].dims[1:], self.shapes[name], strict=True)
        ]
        return values[np.ix_(*own)] if own else values

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


def _reusable(file: netCDF4.Dataset, attributes: Mapping[str, Any], dtype: str) -> bool:
    return (
        attributes.get("creation_library_version") == isoklx.__version__
        and attributes.get("schema_version") == schema.SCHEMA_VERSION
        and manifest.GROUP in file.groups
        and all(name in file.variables for name in schema.VARIABLES)
        and file["kl"].dtype == dtype
    )


def _cells(file: netCDF4.Dataset, path: Path) -> dict[str, Cell]:
    held = {name: file[name][:] for name in schema.VARIABLES if name not in schema.MEASURED}
    found: dict[str, Cell] = {}
    for index, line in enumerate(file[manifest.GROUP][manifest.VARIABLE][:]):
        entry = json.loads(line)
        shapes = {name: tuple(shape) for name, shape in entry["shapes"].items()}
        alpha, fork = np.array(entry["alpha"]), np.array(entry["fork"], dtype=np.int32)
        positions = {
            "alpha": np.searchsorted(held["alpha"], alpha),
            "fork": np.searchsorted(held["fork"], fork),
        }
        labels = {name: held[name][index] for name in schema.CELL_LABELS}
        found[str(labels["run_id"])] = Cell(
            folder=Path(entry["folder"]),
            stamps={name: (size, time) for name, (size, time) in entry["stamps"].items()},
            labels=labels,
            alpha=alpha.astype(np.float64),
            fork=fork,
            data=StoredArrays(file, held, index, shapes, positions),
            shapes=shapes,
            dtype=entry["dtype"],
            notes=tuple(entry["notes"]),
        )
    return found
