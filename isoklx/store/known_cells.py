"""Reuse cells of an earlier build without parsing their files again."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from isoklx import schema
from isoklx._version import __version__
from isoklx.cells.parsing import positions
from isoklx.cells.reading import Cell
from isoklx.errors import BuildError, DatasetError
from isoklx.store import dataset, versions
from isoklx.store.formats import zarr_attributes
from isoklx.store.netcdf import open_in_memory

UNREADABLE = (OSError, RuntimeError, ValueError, KeyError, AttributeError)
"""Errors that libnetcdf and zarr raise for an absent or damaged file."""

Attributes = dict[str, Any]


@contextmanager
def known_cells(
    path: Path, dtype: str, *, texts: bool = False
) -> Iterator[tuple[dict[str, Cell], Attributes]]:
    """Yield the reusable cells of a built file by ``run_id``, and the file's global attributes.

    Both are empty where the file is absent, or would be written differently now; then everything
    has to be read again. The file stays open until the block ends.
    """
    with ExitStack() as stack:
        try:
            file = stack.enter_context(_opened(path))
            cells = _cells(file) if _reusable(file, dtype, texts) else {}
        except UNREADABLE:
            yield {}, {}
        else:
            yield cells, file.attributes if cells else {}


@contextmanager
def stored_cells(path: Path) -> Iterator[tuple[list[Cell], Attributes]]:
    """Yield the cells of a built file of any version, sorted by ``run_id``, and its attributes.

    DatasetError for a file without the manifest, which holds the shape of each cell.
    """
    with _opened(path) as file:
        if not _holds_cells(file):
            raise DatasetError(
                f"{path}: not a file of isoklx build: group {dataset.GROUP} not found"
            )
        version = {"schema_version": np.int32(schema.SCHEMA_VERSION)}
        yield list(_cells(file).values()), {**file.attributes, **version}


@dataclass(frozen=True)
class _File:
    """Open netCDF file or Zarr store, with its undecoded arrays by name or path."""

    path: Path
    arrays: Any
    names: Collection[str]
    attributes: Attributes


@contextmanager
def _opened(path: Path) -> Iterator[_File]:
    if path.is_dir():
        import zarr  # an optional dependency

        group = zarr.open_group(path, mode="r", use_consolidated=False)
        yield _File(path, group, set(group), zarr_attributes(group.attrs))
        return
    with open_in_memory(path) as file:
        file.set_auto_maskandscale(False)
        attributes = {name: file.getncattr(name) for name in file.ncattrs()}
        yield _File(path, file, {*file.variables, *file.groups}, attributes)


@dataclass(frozen=True)
class StoredArrays(Mapping[str, Any]):
    """Arrays of one cell in a built file, without the padding."""

    path: Path
    arrays: Any  # netCDF4.Dataset or zarr.Group with the measured arrays
    held: Mapping[str, Any]  # the other variables, over all cells
    index: int  # of the cell
    shapes: Mapping[str, tuple[int, ...]]
    positions: Mapping[str, Any]  # of the cell's own labels along alpha and fork

    def __getitem__(self, name: str) -> Any:
        try:
            values = (self.held[name] if name in self.held else self.arrays[name])[self.index]
        except RuntimeError as error:  # from libnetcdf, or from a decompressor of Zarr
            raise BuildError(
                f"{self.path}: damaged at {name}; build it again with --force"
            ) from error
        own = [
            self.positions[dim][:length] if dim in self.positions else np.arange(length)
            for dim, length in zip(schema.ANY[name].dims[1:], self.shapes[name], strict=True)
        ]
        return values[np.ix_(*own)] if own else values

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


def _reusable(file: _File, dtype: str, texts: bool) -> bool:
    return (
        _holds_cells(file)
        and file.attributes["schema_version"] == schema.SCHEMA_VERSION
        and file.attributes.get("creation_library_version") == __version__
        and file.arrays["kl"].dtype == dtype
        and (not schema.TEXTS.keys().isdisjoint(file.names)) == texts
    )


def _holds_cells(file: _File) -> bool:
    needed = versions.variables(file.attributes.get("schema_version")) | {dataset.GROUP}
    return len(needed) > 1 and needed.issubset(file.names)


def _cells(file: _File) -> dict[str, Cell]:
    small = [name for name in schema.VARIABLES if name not in schema.MEASURED]
    held = {name: file.arrays[name][:] for name in small if name in file.names}
    older = not held.keys() >= versions.SINCE_VERSION_3
    if older:
        held |= versions.later_labels(held["c_star"], held["measured_with"])
        held["answer"] = np.full((len(held["c_star"]), 0), schema.DATA["answer"].fill)
    found: dict[str, Cell] = {}
    for index, line in enumerate(file.arrays[dataset.GROUP][dataset.VARIABLE][:]):
        entry = json.loads(line)
        shapes = {name: tuple(shape) for name, shape in entry["shapes"].items()}
        if older:
            shapes["answer"] = (0,)
        alpha, fork = np.array(entry["alpha"]), np.array(entry["fork"], dtype=np.int32)
        places = {
            "alpha": positions(held["alpha"], alpha),
            "fork": np.searchsorted(held["fork"], fork),
        }
        labels = {name: held[name][index] for name in schema.CELL_LABELS}
        found[str(labels["run_id"])] = Cell(
            folder=Path(entry["folder"]),
            stamps={name: (size, time) for name, (size, time) in entry["stamps"].items()},
            labels=labels,
            alpha=alpha.astype(np.float64),
            fork=fork,
            data=StoredArrays(file.path, file.arrays, held, index, shapes, places),
            shapes=shapes,
            dtype=entry["dtype"],
            notes=tuple(entry["notes"]),
            texts_hash=entry.get("texts_hash"),
        )
    return found
