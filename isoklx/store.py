"""A sweep's Dataset to a netCDF-4 file, whole or not at all, and back."""

from __future__ import annotations

import os
import secrets
from collections.abc import Hashable
from numbers import Integral
from pathlib import Path
from typing import Any, Literal

import xarray as xr

from isoklx import schema
from isoklx.errors import BuildError, DatasetError

SUFFIX = ".nc"
LARGE = 256 * 2**20
"""Bytes of ``kl`` above which a file is opened dask-backed."""

CHUNK = 64 * 2**10
"""Bytes that a chunk should have at least."""

Chunks = Literal["auto"] | int | dict[Hashable, Any] | None


def write(ds: xr.Dataset, path: Path) -> None:
    """Write a sweep as netCDF-4.

    The file appears under its name only when it is complete and on disk; until then, and after
    any failure, what was there before stays.

    Parameters
    ----------
    ds : Dataset
        A sweep, as `isoklx.sweep.assemble` makes it.
    path : Path
        The file; its folder exists.

    Raises
    ------
    BuildError
        When the file cannot be written.
    """
    # On the same file system as the target, so that the last step is a rename.
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        ds.to_netcdf(partial, engine="netcdf4", format="NETCDF4", encoding=encoding(ds))
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, RuntimeError) as error:  # libnetcdf's own errors are RuntimeErrors
        reason = getattr(error, "strerror", None) or error
        raise BuildError(f"{path}: cannot be written: {reason}") from error
    finally:
        partial.unlink(missing_ok=True)


def encoding(ds: xr.Dataset) -> dict[str, dict[str, Any]]:
    """How each variable of a sweep lies in the file: dtype, fill value, chunks, compression."""
    out: dict[str, dict[str, Any]] = {}
    for name, var in schema.VARIABLES.items():
        out[name] = {"_FillValue": var.fill}
        if var.measured:
            chunks = _chunk_shape(ds[name])
            out[name] |= {"zlib": True, "complevel": 1, "shuffle": True, "chunksizes": chunks}
        elif var.dtype != "str":
            out[name] |= {"dtype": var.dtype}
    return out


def read(path: Path, chunks: Chunks = "auto") -> xr.Dataset:
    """Open a file that `write` made, lazily.

    Parameters
    ----------
    path : Path
        The file.
    chunks : "auto", int, dict or None
        As for `xarray.open_dataset`; ``"auto"`` gives dask arrays in the file's own chunks when
        ``kl`` is larger than `LARGE`, and numpy-backed ones otherwise.

    Returns
    -------
    Dataset
        With the file's variables, values decoded by xarray.

    Raises
    ------
    DatasetError
        When the file is absent, damaged, not a sweep, or of a newer schema.
    """
    if not path.exists():
        raise DatasetError(f"{path}: there is no such file")
    try:
        ds = xr.open_dataset(path, engine="netcdf4")
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DatasetError(f"{path}: cannot be read as netCDF: {reason}") from error
    try:
        _check(ds)
    except DatasetError as error:
        ds.close()
        raise DatasetError(f"{path}: {error}") from error
    if chunks == "auto":
        return ds.chunk({}) if ds["kl"].nbytes > LARGE else ds
    return ds if chunks is None else ds.chunk(chunks)


def _check(ds: xr.Dataset) -> None:
    version = ds.attrs.get("schema_version")
    if isinstance(version, Integral) and int(version) > schema.SCHEMA_VERSION:
        raise DatasetError(
            f"written by a newer isoklx (schema {version}, this one reads up to "
            f"{schema.SCHEMA_VERSION}); upgrade isoklx to read it"
        )
    schema.require(ds, schema.VARIABLES)


def _chunk_shape(da: xr.DataArray) -> tuple[int, ...]:
    """One dose of whole trajectories, over as many cells as make a chunk worth its overhead.

    People slice by dose over all cells, or take a cell whole; a chunk that holds one dose of one
    cell serves both without reading anything else. Tokens are never split: each statistic of a
    trajectory needs all of it. Cells are joined only where one alone is smaller than `CHUNK`.
    """
    n_cell, _, *trajectory = (max(size, 1) for size in da.shape)
    size = da.dtype.itemsize
    for length in trajectory:
        size *= length
    return min(n_cell, max(CHUNK // size, 1)), 1, *trajectory
