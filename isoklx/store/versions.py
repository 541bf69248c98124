"""Files of an older schema, as the present one has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from isoklx import schema

if TYPE_CHECKING:
    import xarray as xr


def variables(version: object) -> set[str]:
    """Names of the variables that a file of a schema version has; none if it is unknown."""
    if version == schema.SCHEMA_VERSION:
        return set(schema.VARIABLES)
    return set(schema.VARIABLES) - set(schema.SINCE_VERSION_2) if version == 1 else set()


def absent(names: Iterable[str], sizes: Mapping[str, int]) -> dict[str, Any]:
    """Return what variables are, over all cells, in a file that is older than they are."""
    return {name: _default(name, tuple(sizes[d] for d in _dims(name))) for name in names}


def complete(shapes: dict[str, tuple[int, ...]], n_alpha: int) -> None:
    """Add to the shapes of a cell's arrays those of variables that its file is older than."""
    for name in schema.SINCE_VERSION_2:
        own = {"alpha": n_alpha, "prompt": 0}
        shapes.setdefault(name, tuple(own[dim] for dim in _dims(name)[1:]))


def upgraded(ds: xr.Dataset) -> xr.Dataset:
    """Return an opened file of version 1 in the form of the present schema.

    Parameters
    ----------
    ds : Dataset
        What was opened, decoded or not; of version 1 it may be a selection.

    Returns
    -------
    Dataset
        What version 2 brought is as a run of then had it: the target is a p95, nothing else was
        recorded. Any other Dataset as it is.
    """
    if ds.attrs.get("schema_version") != 1 or "cell" not in ds.dims:
        return ds
    added = {}
    for name in schema.SINCE_VERSION_2.keys() - ds.variables.keys():
        var = schema.DATA[name]
        dims = tuple(dim for dim in var.dims if dim in ds.dims)
        values = _default(name, tuple(ds.sizes[dim] for dim in dims))
        encoding = {} if var.fill is None else {"_FillValue": var.fill}
        added[name] = (dims, values, var.attributes, encoding)
    if "seed" in ds.variables:
        ds = ds.assign_coords(seed=ds["seed"].astype(schema.COORDINATES["seed"].dtype))
    for name in schema.COORDINATES.keys() & ds.variables.keys():
        if schema.COORDINATES[name].units is None:  # labels had the unit 1
            ds[name].attrs.pop("units", None)
    out = ds.assign(added).assign_attrs(schema_version=np.int32(schema.SCHEMA_VERSION))
    out.set_close(ds.close)
    return out


def _dims(name: str) -> tuple[str, ...]:
    return schema.DATA[name].dims


def _default(name: str, shape: tuple[int, ...]) -> Any:
    dtype = schema.DATA[name].dtype
    return np.full(shape, schema.SINCE_VERSION_2[name], dtype=None if dtype == "str" else dtype)
