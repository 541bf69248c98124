"""Kernels along dimensions of labelled arrays, lazy and in bounded memory where these are lazy."""

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
"""Bytes of a block of joined chunks; a kernel needs several times that, in every thread."""


def apply_along(
    kernel: Callable[..., Any],
    da: xr.DataArray,
    *others: xr.Variable,
    along: Sequence[str],
    into: tuple[str, int],
    dtype: DTypeLike | None = None,
    **options: object,
) -> xr.DataArray:
    """The kernel's result, whose last axis is ``into`` where ``da`` was ``along`` several."""
    name, size = into
    if da.chunks is not None and not math.prod(da.sizes[dim] for dim in along):
        # dask divides by the length of what it applies a kernel along.
        nothing = da.sum(along, keep_attrs=True).where(False).astype(dtype or da.dtype)
        return nothing.expand_dims({name: size}, axis=-1)
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
    """Put an array into one chunk along some dimensions; the longest other one gives way for it.

    Joining ten thousand cells would make blocks larger than memory, if it did not come with
    splitting the tokens; all others keep their chunks, so that a selection reads no more than it.

    Parameters
    ----------
    da : DataArray
        Any array.
    dims : sequence of str
        Dimensions of it.

    Returns
    -------
    DataArray
        The same, chunked where `da` is.

    Raises
    ------
    UsageError
        When `da` has not all of `dims`.

    Examples
    --------
    >>> da = xr.DataArray([[1.0, 2.0]], dims=["cell", "token"]).chunk(token=1)
    >>> whole_along(da, ["token"]).chunks
    ((1,), (2,))
    """
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
    """As ``da.chunk``, which would make labels lazy as well."""
    return da.copy(data=da.variable.chunk(chunks).data)


def renamed(da: xr.DataArray, name: str, long_name: str) -> xr.DataArray:
    """Name what was computed, which has no units."""
    da = da.rename(name)
    da.attrs = {"long_name": long_name, "units": "1"}
    return da


def kl_of(ds: xr.Dataset) -> xr.DataArray:
    """KL of a sweep, or DatasetError where it has none, or UsageError where one token is left."""
    schema.require(ds, ["kl", "token"])
    require_dims(ds["kl"], ["token"])
    return ds["kl"]


def positive(counts: xr.DataArray) -> xr.DataArray:
    """Counts, and NaN for none."""
    return counts.where(counts > 0)


def check_count(name: str, value: int) -> int:
    """A number of tokens, or UsageError when it is no positive integer."""
    if not isinstance(value, int | np.integer) or value < 1:
        raise UsageError(f"{name}={value!r}: give a positive integer")
    return int(value)


def require_array(da: xr.DataArray) -> None:
    """UsageError for what is no DataArray."""
    if not isinstance(da, xr.DataArray):
        raise UsageError(f"{type(da).__name__} is no DataArray; give one, such as ds.kl")


def require_dims(da: xr.DataArray, dims: Sequence[str]) -> None:
    """UsageError for an array that lacks a dimension."""
    for dim in dims:
        if dim not in da.dims:
            there = ", ".join(map(str, da.dims)) or "none"
            raise UsageError(f"{da.name or 'the array'} has no dimension {dim!r}, it has {there}")
