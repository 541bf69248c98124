"""Open a built file lazily as a Dataset."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakSet

import xarray as xr

from isoklx import schema
from isoklx.errors import DatasetError
from isoklx.store.formats import ZARR, is_zarr, zarr_attributes
from isoklx.store.versions import check_version, upgraded
from isoklx.system.atomic import locking_trouble
from isoklx.system.extras import require_extra

if TYPE_CHECKING:
    import netCDF4
    from xarray.backends import NetCDF4DataStore


Stamp = tuple[int, int]
"""Size of a file in bytes, and time of its last change in nanoseconds."""

_readers: dict[tuple[str, Stamp], WeakSet[Any]] = {}
"""File managers in use, by file and version of the file."""


def open_shared(path: Path) -> tuple[NetCDF4DataStore, Callable[[], None]]:
    """Open a netCDF file for xarray; its handle is shared and closes with the last `close()`.

    With one handle for each Dataset, HDF5 reads strings from freed memory as soon as one of them is
    closed: the next open fails with "HDF error", or the process crashes
    (https://github.com/HDFGroup/hdf5/issues/3649).
    """
    from xarray.backends import CachingFileManager, NetCDF4DataStore  # slow import

    real = os.path.realpath(path)
    version = _stamp(real)
    manager: Any = CachingFileManager(_open, real, version, mode="r", manager_id="isoklx")
    store = NetCDF4DataStore(manager, mode="r")  # type: ignore[no-untyped-call]
    readers = _readers.setdefault((real, version), WeakSet())
    readers.add(manager)

    def close() -> None:
        readers.discard(manager)
        if not readers:
            _readers.pop((real, version), None)
            manager.close()

    return store, close


def _open(path: str, version: Stamp, mode: str) -> netCDF4.Dataset:
    """Open the file unless it has changed, which would make the cached metadata wrong."""
    import netCDF4  # slow import

    if _stamp(path) != version:
        raise DatasetError(f"{path}: changed since it was opened; open it again")
    return netCDF4.Dataset(path, mode)  # type: ignore[arg-type]


def _stamp(path: str) -> Stamp:
    found = Path(path).stat()
    return found.st_size, found.st_mtime_ns


TEXTS = tuple(name for name, var in schema.TEXTS.items() if var.dtype == "str")

OF_ITS_STORE = ("chunks", "shards", "compressor", "compressors", "filters", "serializer")
"""Encodings of a Zarr array that fit another store only with the same format and chunks.

xarray would enforce them when a selection is saved.
"""

LARGE = 256 * 2**20
"""Size of ``kl`` in bytes above which a file is opened dask-backed."""

Chunks = Literal["auto"] | int | dict[Hashable, Any] | None


def read(path: Path, chunks: Chunks = "auto") -> xr.Dataset:
    """Open a built file, or a selection of one that xarray saved, lazily.

    ``chunks="auto"`` gives dask arrays in the file's own chunks where ``kl`` is larger than
    `LARGE`, and numpy-backed ones otherwise. ``run_id`` is an index of ``cell`` unless a single
    cell was selected. DatasetError for a file that is absent, damaged, not a sweep or of an
    unsupported schema.
    """
    if not path.exists():
        raise DatasetError(f"{path}: file not found")
    if path.is_dir() and path.suffix != ZARR and not is_zarr(path):
        raise DatasetError(f"{path}: is a folder, not a built file; build a runs root first")
    ds = _zarr(path) if path.suffix == ZARR or is_zarr(path) else _netcdf(path)
    try:
        check_version(ds.attrs)
        ds = upgraded(ds)
        _check(ds)
    except DatasetError as error:
        ds.close()
        raise DatasetError(f"{path}: {error}") from error
    if ds["run_id"].dims:
        indexed = ds.set_xindex("run_id")
        indexed.set_close(ds.close)  # set_xindex loses it
        ds = indexed
    return chunked(ds, chunks)


def chunked(ds: xr.Dataset, chunks: Chunks) -> xr.Dataset:
    """Make the measured arrays and texts of a sweep dask-backed; labels stay in memory."""
    if chunks == "auto":
        chunks = {} if "kl" in ds and ds["kl"].nbytes > LARGE else None
    if chunks is None:
        return ds
    there = [name for name in (*schema.MEASURED, *schema.TEXTS) if name in ds]
    in_chunks = ds.assign({name: _in_chunks(ds[name], chunks) for name in there})
    in_chunks.set_close(ds.close)
    return in_chunks


def _in_chunks(da: xr.DataArray, chunks: int | dict[Hashable, Any]) -> xr.DataArray:
    if isinstance(chunks, dict):
        # `chunk` merges the chunks of every dimension that is not named.
        chunks = {**da.encoding.get("preferred_chunks", {}), **chunks}
        chunks = {dim: size for dim, size in chunks.items() if dim in da.dims}
    return da.chunk(chunks)


def _netcdf(path: Path) -> xr.Dataset:
    try:
        store, close = open_shared(path)
        # xarray would read all texts at once, and pad them to the longest.
        texts = {
            name: store.open_store_variable(name, store.ds.variables[name])
            for name in TEXTS
            if name in store.ds.variables
        }
        ds = xr.open_dataset(store, drop_variables=TEXTS)
    except (
        OSError,
        RuntimeError,
        ValueError,
        AttributeError,
    ) as error:  # AttributeError: a damaged attribute
        reason = locking_trouble(path) or getattr(error, "strerror", None) or error
        raise DatasetError(f"{path}: cannot be read as netCDF: {reason}") from error
    for name, text in texts.items():
        text.attrs = schema.TEXTS[name].attributes
    ds = ds.assign(texts)
    ds.set_close(close)
    return ds


def _zarr(path: Path) -> xr.Dataset:
    require_extra("zarr", f"{path}: reading Zarr")
    try:
        ds = xr.open_dataset(path, engine="zarr", consolidated=False)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise DatasetError(f"{path}: cannot be read as Zarr: {error}") from error
    for variable in ds.variables.values():
        for key in variable.encoding.keys() & OF_ITS_STORE:
            del variable.encoding[key]
        if getattr(variable.encoding.get("dtype"), "kind", "") in tuple("iuf"):
            # netCDF4 warns of an explicit byte order, even if it is the machine's.
            variable.encoding["dtype"] = variable.encoding["dtype"].newbyteorder("=")
    for name in ds.variables.keys() & TEXTS:
        ds[name] = ds[name].chunk({}).astype(object)  # as from netCDF, and lazy
    for name in schema.VARIABLES.keys() & ds.variables.keys():
        var = schema.VARIABLES[name]
        if var.dtype == "str":
            ds[name] = ds[name].astype(str)  # as from netCDF, instead of a Zarr dtype
        if "flag_values" in ds[name].attrs:
            ds[name].attrs["flag_values"] = var.attrs["flag_values"]  # JSON has only lists
    ds.attrs = zarr_attributes(ds.attrs)
    return ds


def _check(ds: xr.Dataset) -> None:
    # A selection may lack other variables; each function checks the ones that it needs.
    if "run_id" not in ds.variables:
        raise DatasetError("not an isoklx sweep: it has no run_id")
    if not schema.DATA.keys() & ds.variables.keys():
        raise DatasetError(f"not an isoklx sweep: it has none of {', '.join(schema.DATA)}")
