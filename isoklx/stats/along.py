"""Application of kernels along dimensions of labelled arrays, lazily and in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import DTypeLike

from isoklx import schema
from isoklx.errors import UsageError

BLOCK = 32 * 2**20
"""Bytes of a block of joined chunks; a kernel needs several times that in every thread."""


def apply_along(
    kernel: Callable[..., Any],
    da: xr.DataArray,
    *others: xr.Variable,
    along: Sequence[str],
    into: tuple[str, int],
    dtype: DTypeLike | None = None,
    **options: object,
) -> xr.DataArray:
    """Apply a kernel along dimensions; its last output axis is named and sized by ``into``."""
    name, size = into
    if da.chunks is not None and not math.prod(da.sizes[dim] for dim in along):
        # dask divides by the length of these dimensions, which is 0 here.
        missing = da.sum(along, keep_attrs=True).where(False).astype(dtype or da.dtype)
        return missing.expand_dims({name: size}, axis=-1)
    result: xr.DataArray = xr.apply_ufunc(
        kernel,
        da,
        *others,
        kwargs=options,
        input_core_dims=[along, *([] for _ in others)],
        output_core_dims=[[name]],
        dask="parallelized",
        output_dtypes=[dtype or da.dtype],
        dask_gufunc_kwargs={"output_sizes": {name: size}},
        keep_attrs=True,
    )
    return result


def whole_along(da: xr.DataArray, dims: Sequence[str]) -> xr.DataArray:
    """Rechunk an array into one chunk along ``dims``, splitting the longest other dimension."""
    # Only the longest other dimension is split, to keep blocks below BLOCK bytes: a selection then
    # still reads little more than itself.
    require_dims(da, dims)
    if da.chunks is None:
        return da
    chunks: dict[Hashable, int] = dict.fromkeys(dims, -1)
    others = {dim: max(sizes) for dim, sizes in da.variable.chunksizes.items() if dim not in dims}
    if others:
        longest = max(others, key=lambda dim: others[dim])
        rest = math.prod(size for dim, size in others.items() if dim != longest)
        row = math.prod(da.sizes[dim] for dim in dims) * rest * da.dtype.itemsize
        if row * others[longest] > BLOCK:
            chunks[longest] = max(1, BLOCK // row)
    return rechunked(da, chunks)


def rechunked(da: xr.DataArray, chunks: Mapping[Hashable, Any]) -> xr.DataArray:
    """Rechunk the values alone; ``da.chunk`` would make the labels lazy as well."""
    return da.copy(data=da.variable.chunk(chunks).data)


def renamed(da: xr.DataArray, name: str, long_name: str) -> xr.DataArray:
    """Set the name and long name of a dimensionless result."""
    da = da.rename(name)
    da.attrs = {"long_name": long_name, "units": "1"}
    return da


def kl_of(ds: xr.Dataset) -> xr.DataArray:
    """Return KL along tokens; a missing KL is a DatasetError, a single token a UsageError."""
    schema.require(ds, ["kl", "token"])
    require_dims(ds["kl"], ["token"])
    return ds["kl"]


def positive(counts: xr.DataArray) -> xr.DataArray:
    """Replace counts of 0 by NaN."""
    return counts.where(counts > 0)


def check_count(name: str, value: int) -> int:
    """Return a number of tokens as int; raise UsageError unless it is a positive integer."""
    if not isinstance(value, int | np.integer) or value < 1:
        raise UsageError(f"{name} must be a positive integer, got {value!r}")
    return int(value)


def require_array(da: xr.DataArray) -> None:
    """Raise UsageError unless ``da`` is a DataArray."""
    if not isinstance(da, xr.DataArray):
        raise UsageError(f"expected xarray.DataArray, such as ds.kl, got {type(da).__name__}")


def require_dims(da: xr.DataArray, dims: Sequence[str]) -> None:
    """Raise UsageError for the first dimension that an array lacks."""
    for dim in dims:
        if dim not in da.dims:
            available = ", ".join(map(str, da.dims)) or "none"
            name = da.name or "the array"
            raise UsageError(f"dimension {dim!r} of {name} not found; available: {available}")
