"""Choosing part of a sweep by label, and making whole again what a choice has dropped."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from isoklx import schema
from isoklx.errors import UsageError

SAME_ALPHA = 1e-9


def select_alphas(ds: xr.Dataset, alphas: Sequence[float]) -> xr.Dataset:
    """Choose doses by their label.

    Parameters
    ----------
    ds : Dataset
        A sweep, with dimension ``alpha``.
    alphas : sequence of float
        Labels, equal to those of the sweep to 1e-9.

    Returns
    -------
    Dataset
        Those doses, in the order of `alphas`.

    Raises
    ------
    UsageError
        When one is not in the sweep; the message lists those that are.

    Examples
    --------
    >>> ds = xr.Dataset(coords={"alpha": [0.0, 0.25, 1.0]})
    >>> select_alphas(ds, [1, 0.25]).alpha.values
    array([1.  , 0.25])
    >>> select_alphas(ds, [0.5])
    Traceback (most recent call last):
    isoklx.errors.UsageError: no alpha 0.5 in this sweep; it has 0, 0.25, 1
    """
    schema.require(ds, ["alpha"])
    labels = ds["alpha"].values
    near = np.abs(labels - np.reshape(np.asarray(alphas, dtype=float), (-1, 1))) <= SAME_ALPHA
    missing = [alpha for alpha, there in zip(alphas, near.any(axis=1), strict=True) if not there]
    if missing:
        wanted, there = (", ".join(f"{alpha:g}" for alpha in some) for some in (missing, labels))
        raise UsageError(f"no alpha {wanted} in this sweep; it has {there or 'none'}")
    return ds.isel(alpha=near.argmax(axis=1))


def restore_dims(ds: xr.Dataset) -> xr.Dataset:
    """Give back, with length 1, the dimensions that choosing a single label has dropped.

    Parameters
    ----------
    ds : Dataset
        A sweep or a selection of it, such as ``ds.sel(run_id="...")``.

    Returns
    -------
    Dataset
        Every variable with the dimensions of the schema.

    Examples
    --------
    >>> ds = xr.Dataset({"c_star": ("cell", [2.0])}, {"method": ("cell", ["pca"])})
    >>> restore_dims(ds.isel(cell=0)).c_star.dims
    ('cell',)
    """
    # Coordinates first: a dimension's length comes from its label.
    for table in (schema.COORDINATES, schema.DATA):
        present = {name: var.dims for name, var in table.items() if name in ds.variables}
        restored = {
            name: ds[name].variable.set_dims(dims)  # type: ignore[no-untyped-call]
            for name, dims in present.items()
            if ds[name].ndim < len(dims)
        }
        ds = ds.assign_coords(restored) if table is schema.COORDINATES else ds.assign(restored)
    return ds
