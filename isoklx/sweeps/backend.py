"""A runs root as an xarray backend: ``xr.open_dataset("outputs", engine="isoklx")``.

Opening parses every cell once, as a build does: rows may be shorter than the window, so only the
parse gives the shapes and finds broken cells, and a scan of the brackets is not faster. The
measured arrays are moved to a temporary folder of `tempfile` (a seventh of the size of the JSON)
and read from there cell by cell. Thus nothing is parsed twice, a broken cell is known before any
computation, and a run that continues meanwhile changes nothing.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import warnings
import weakref
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray, BackendEntrypoint
from xarray.core import indexing

from isoklx.cells.layout import CALIBRATION, cell_folders
from isoklx.cells.reading import Cell
from isoklx.errors import BuildError, DatasetError
from isoklx.store.arrays_on_disk import drop_in_memory
from isoklx.store.dataset import Alignment, assemble, storage_dtype
from isoklx.store.provenance import global_attributes
from isoklx.sweeps.reading import read_roots
from isoklx.system.paths import as_path
from isoklx.system.signals import cleanup_on_signal

CHUNK = 2**20
"""Minimum bytes of ``kl`` per chunk, if there are enough cells."""


class SweepBackend(BackendEntrypoint):
    """Backend that opens a runs root lazily; registered with xarray as the engine ``isoklx``."""

    description = "Open a folder of iso-KL steering calibration runs"
    open_dataset_parameters = ("filename_or_obj", "drop_variables", "texts")

    def open_dataset(  # type: ignore[override]  # a root is a path and nothing else
        self,
        filename_or_obj: str | Path,
        *,
        drop_variables: str | Iterable[str] | None = None,
        texts: bool = False,
    ) -> xr.Dataset:
        """Open a runs root, as `isoklx.open_sweep` does, without some variables.

        ``run_id`` is an index of ``cell``. Measured variables are read on demand; with
        ``chunks={}`` they are dask arrays with one cell per chunk (several, if cells are small).
        With `texts`, prompts and generated texts are read too. Warns of each skipped cell, and
        raises BuildError if the folder has no readable cell.
        """
        root = as_path(filename_or_obj)
        spool = _Spool()
        reading = read_roots([root], spool.folder, texts=texts)
        for error in reading.skipped:
            warnings.warn(f"skipped {error}", stacklevel=3)
        ds = assemble(reading.cells, partial(_lazy_array, spool))
        for variable in ds.variables.values():
            if "cell" in variable.dims:
                variable.encoding["preferred_chunks"] = {"cell": _cells_per_chunk(ds["kl"])}
        dropped = [drop_variables] if isinstance(drop_variables, str) else drop_variables or []
        ds = ds.assign_attrs(global_attributes(reading.cells, [root], reading.skipped)).set_xindex(
            "run_id"
        )
        ds = ds.drop_vars(dropped)
        ds.set_close(spool.remove)
        return ds

    def guess_can_open(self, filename_or_obj: object) -> bool:
        """Return whether a path is a folder that contains at least one cell."""
        if not isinstance(filename_or_obj, str | Path):
            return False
        try:
            folders = cell_folders([as_path(filename_or_obj)])
        except BuildError:
            return False
        return any((folder / CALIBRATION).is_file() for folder in folders)


def _cells_per_chunk(kl: xr.DataArray) -> int:
    """Return the number of cells per chunk, common to all variables so that chunks align."""
    return max(1, CHUNK * kl.sizes["cell"] // max(kl.nbytes, 1))


class _Spool:
    """Temporary folder, removed at the latest when the last reference to it is gone."""

    def __init__(self) -> None:
        self.folder = _temporary_folder() / f"isoklx-{secrets.token_hex(8)}"
        remove_folder = partial(shutil.rmtree, self.folder, ignore_errors=True)
        end = ExitStack()
        end.enter_context(cleanup_on_signal(remove_folder))
        end.callback(remove_folder)
        try:
            self.folder.mkdir(mode=0o700)
        except OSError as error:
            end.close()
            raise BuildError(
                f"{self.folder}: cannot be created: {error.strerror}; set TMPDIR to another folder"
            ) from error
        self.remove = weakref.finalize(self, end.close)

    def __deepcopy__(self, _: dict[int, Any]) -> _Spool:
        return self  # read-only

    def __reduce__(self) -> tuple[Callable[[Path], _Spool], tuple[Path]]:
        return _copied_spool, (self.folder,)


def _temporary_folder() -> Path:
    """Return the system's temporary folder, chosen again if the last choice was removed."""
    if tempfile.tempdir is not None and not Path(os.fsdecode(tempfile.tempdir)).is_dir():
        tempfile.tempdir = None
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        raise BuildError(f"{error.strerror}; set TMPDIR to a folder that can be written") from error


def _copied_spool(folder: Path) -> _Spool:
    """Make a copy of another spool, which may disappear at any time, by links if possible."""
    spool = _Spool()
    try:
        for file in folder.iterdir():
            _link_or_copy(file, spool.folder / file.name)
    except FileNotFoundError as error:
        raise DatasetError(
            f"the pickled runs root was closed, and its arrays in {folder} are gone: pickle the "
            "result of load(), or build a file and open that"
        ) from error
    return spool


def _link_or_copy(file: Path, copy: Path) -> None:
    try:
        os.link(file, copy)
    except FileNotFoundError:
        raise
    except OSError:  # not every file system supports hard links
        shutil.copyfile(file, copy)


class _MeasuredArray(BackendArray):
    """Measured variable with the array of each cell in a file of its own."""

    def __init__(
        self, spool: _Spool, alignment: Alignment, name: str, cells: Sequence[Cell]
    ) -> None:
        self.spool, self.alignment, self.name = spool, alignment, name
        self.cells = [drop_in_memory(cell) for cell in cells]
        self.shape = (len(cells), *alignment.shape(name))
        self.dtype = np.dtype(storage_dtype(name, cells))

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.cells = [_moved(self.spool.folder, cell) for cell in self.cells]

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        outer = indexing.IndexingSupport.OUTER
        return indexing.explicit_indexing_adapter(key, self.shape, outer, self._values)

    def __dask_tokenize__(self) -> tuple[str, str]:
        return str(self.spool.folder), self.name

    def _values(self, key: tuple[Any, ...]) -> Any:
        """Return the values at an outer key, read cell by cell."""
        first, *others = key
        chosen = np.arange(len(self.cells))[first]
        nothing = _outer_indexed(np.empty((0, *self.shape[1:])), [slice(None), *others])
        out = np.empty((chosen.size, *nothing.shape[1:]), self.dtype)
        for to, i in enumerate(np.atleast_1d(chosen)):
            out[to] = _outer_indexed(self.alignment.placed(self.name, [self.cells[i]])[0], others)
        return out if chosen.ndim else out[0]


def _moved(folder: Path, cell: Cell) -> Cell:
    """Return the cell with its arrays in another folder, under the same name."""
    data: Any = cell.data
    return replace(cell, data=replace(data, path=folder / data.path.name))


def _lazy_array(spool: _Spool, alignment: Alignment, name: str, cells: Sequence[Cell]) -> Any:
    return indexing.LazilyIndexedArray(_MeasuredArray(spool, alignment, name, cells))


def _outer_indexed(values: Any, key: Sequence[Any]) -> Any:
    """Index with an outer key, in which each array applies to one dimension."""
    for axis in reversed(range(len(key))):
        values = values[(slice(None),) * axis + (key[axis],)]
    return values
