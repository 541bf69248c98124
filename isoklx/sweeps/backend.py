"""A runs root as an xarray backend: ``xr.open_dataset("outputs", engine="isoklx")``.

What shapes need is one strict parse of every cell. Rows may be shorter than the window, and only
the parse tells a cell that is broken deep in its numbers from one that is whole; looking for
brackets and commas alone takes as long as the parser does. So opening parses each cell once, as a
build does, and keeps nothing of what is large in memory: the measured arrays wait in a temporary
folder (`tempfile` says where; binary, a seventh of the JSON) and are read from there, cell by cell,
when their values are asked for. Nothing is parsed twice, a broken cell is known before anything is
computed, and a run that goes on meanwhile changes nothing.
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
"""Bytes of ``kl`` that a chunk has at least, if there are cells enough."""


class SweepBackend(BackendEntrypoint):
    """Opens a runs root lazily; registered with xarray as the engine ``isoklx``."""

    description = "Open a folder of iso-KL steering calibration runs"
    open_dataset_parameters = ("filename_or_obj", "drop_variables", "texts")

    def open_dataset(  # type: ignore[override]  # a root is a path and nothing else
        self,
        filename_or_obj: str | Path,
        *,
        drop_variables: str | Iterable[str] | None = None,
        texts: bool = False,
    ) -> xr.Dataset:
        """Open a runs root.

        Parameters
        ----------
        filename_or_obj : str or Path
            A folder of cells.
        drop_variables : str or iterable of str, optional
            Variables to leave out.
        texts : bool
            Read what was said as well, as `isoklx.build` with ``texts``.

        Returns
        -------
        Dataset
            As `isoklx.open_sweep` gives it, ``run_id`` an index of ``cell``. Measured variables are
            read when they are asked for, and with ``chunks={}`` are dask arrays of one cell a chunk
            (of several, if cells are small).

        Raises
        ------
        BuildError
            When the folder holds no cell, or none that can be read.

        Warns
        -----
        UserWarning
            For each cell that had to be skipped, naming folder, file and reason.

        Examples
        --------
        >>> ds = xr.open_dataset("data/sample", engine=SweepBackend, chunks={})
        >>> ds.kl.chunksizes["cell"][:3]
        (12,)
        """
        root = as_path(filename_or_obj)
        spool = _Spool()
        reading = read_roots([root], spool.folder, texts=texts)
        for error in reading.skipped:
            warnings.warn(f"skipped {error}", stacklevel=3)
        ds = assemble(reading.cells, partial(_lazy, spool))
        for variable in ds.variables.values():
            if "cell" in variable.dims:
                variable.encoding["preferred_chunks"] = {"cell": _cells_a_chunk(ds["kl"])}
        dropped = [drop_variables] if isinstance(drop_variables, str) else drop_variables or []
        ds = ds.assign_attrs(global_attributes(reading.cells, [root], reading.skipped)).set_xindex(
            "run_id"
        )
        ds = ds.drop_vars(dropped)
        ds.set_close(spool.remove)
        return ds

    def guess_can_open(self, filename_or_obj: object) -> bool:
        """Tell whether this is a folder in which at least one folder is a cell."""
        if not isinstance(filename_or_obj, str | Path):
            return False
        try:
            folders = cell_folders([as_path(filename_or_obj)])
        except BuildError:
            return False
        return any((folder / CALIBRATION).is_file() for folder in folders)


def _cells_a_chunk(kl: xr.DataArray) -> int:
    """Cells that are worth a chunk; the same for all variables, or their chunks would not fit."""
    return max(1, CHUNK * kl.sizes["cell"] // max(kl.nbytes, 1))


class _Spool:
    """A temporary folder, gone at the latest when nothing refers to it any more."""

    def __init__(self) -> None:
        self.folder = _temporary_folder() / f"isoklx-{secrets.token_hex(8)}"
        tidy = partial(shutil.rmtree, self.folder, ignore_errors=True)
        end = ExitStack()
        end.enter_context(cleanup_on_signal(tidy))
        end.callback(tidy)
        try:
            self.folder.mkdir(mode=0o700)
        except OSError as error:
            end.close()
            raise BuildError(
                f"{self.folder}: cannot be made: {error.strerror}; set TMPDIR to another folder"
            ) from error
        self.remove = weakref.finalize(self, end.close)

    def __deepcopy__(self, _: dict[int, Any]) -> _Spool:
        return self  # it is only read from

    def __reduce__(self) -> tuple[Callable[[Path], _Spool], tuple[Path]]:
        return _another, (self.folder,)


def _temporary_folder() -> Path:
    """Return the system's temporary folder, chosen again where the last choice has been removed."""
    if tempfile.tempdir is not None and not Path(os.fsdecode(tempfile.tempdir)).is_dir():
        tempfile.tempdir = None
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        raise BuildError(f"{error.strerror}; set TMPDIR to a folder that can be written") from error


def _another(folder: Path) -> _Spool:
    """A spool with the files of one that may go at any time: it is of another process, perhaps."""
    spool = _Spool()
    try:
        for file in folder.iterdir():
            _link(file, spool.folder / file.name)
    except FileNotFoundError as error:
        raise DatasetError(
            f"a pickled runs root, whose arrays lay in {folder} for as long as it was open: pickle "
            "what load() returns, or build a file and open that"
        ) from error
    return spool


def _link(file: Path, copy: Path) -> None:
    try:
        os.link(file, copy)
    except FileNotFoundError:
        raise
    except OSError:  # not every file system knows links
        shutil.copyfile(file, copy)


class _MeasuredArray(BackendArray):
    """A measured variable of which each cell lies in the spool by itself."""

    def __init__(
        self, spool: _Spool, alignment: Alignment, name: str, cells: Sequence[Cell]
    ) -> None:
        self.spool, self.alignment, self.name = spool, alignment, name
        self.cells = [drop_in_memory(cell) for cell in cells]
        self.shape = (len(cells), *alignment.shape(name))
        self.dtype = np.dtype(storage_dtype(name, cells))

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.cells = [_in(self.spool.folder, cell) for cell in self.cells]

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        outer = indexing.IndexingSupport.OUTER
        return indexing.explicit_indexing_adapter(key, self.shape, outer, self._values)

    def __dask_tokenize__(self) -> tuple[str, str]:
        return str(self.spool.folder), self.name

    def _values(self, key: tuple[Any, ...]) -> Any:
        """The values at an outer key, a cell at a time."""
        first, *others = key
        chosen = np.arange(len(self.cells))[first]
        nothing = _taken(np.empty((0, *self.shape[1:])), [slice(None), *others])
        out = np.empty((chosen.size, *nothing.shape[1:]), self.dtype)
        for to, i in enumerate(np.atleast_1d(chosen)):
            out[to] = _taken(self.alignment.placed(self.name, [self.cells[i]])[0], others)
        return out if chosen.ndim else out[0]


def _in(folder: Path, cell: Cell) -> Cell:
    """The cell with its arrays in that folder, under the same name."""
    data: Any = cell.data
    return replace(cell, data=replace(data, path=folder / data.path.name))


def _lazy(spool: _Spool, alignment: Alignment, name: str, cells: Sequence[Cell]) -> Any:
    return indexing.LazilyIndexedArray(_MeasuredArray(spool, alignment, name, cells))


def _taken(values: Any, key: Sequence[Any]) -> Any:
    """``values`` at an outer key, of which arrays take one dimension each."""
    for axis in reversed(range(len(key))):
        values = values[(slice(None),) * axis + (key[axis],)]
    return values
