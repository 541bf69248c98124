"""A built file, opened lazily as a Dataset."""

from __future__ import annotations

from collections.abc import Hashable
from numbers import Integral
from pathlib import Path
from typing import Any, Literal

import xarray as xr

from isoklx import schema
from isoklx.errors import DatasetError

LARGE = 256 * 2**20
"""Bytes of ``kl`` above which a file is opened dask-backed."""

Chunks = Literal["auto"] | int | dict[Hashable, Any] | None


def read(path: Path, chunks: Chunks = "auto") -> xr.Dataset:
    """Open a file that `isoklx.build` wrote, lazily.

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
        chunks = {} if ds["kl"].nbytes > LARGE else None
    if chunks is None:
        return ds
    # What is known of a cell stays in memory: it is small, and everything asks for it.
    return ds.assign({name: ds[name].chunk(chunks) for name in schema.MEASURED})


def _check(ds: xr.Dataset) -> None:
    version = ds.attrs.get("schema_version")
    if isinstance(version, Integral) and int(version) > schema.SCHEMA_VERSION:
        raise DatasetError(
            f"written by a newer isoklx (schema {version}, this one reads up to "
            f"{schema.SCHEMA_VERSION}); upgrade isoklx to read it"
        )
    schema.require(ds, schema.VARIABLES)
