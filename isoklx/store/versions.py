"""Convert files of an older schema to the current one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np

from isoklx import schema
from isoklx.cells.reading import split_labels
from isoklx.errors import DatasetError

if TYPE_CHECKING:
    import xarray as xr

SINCE_VERSION_3 = frozenset({*schema.SPLIT, "answer"})
"""Variables that files of version 2 lack."""


def check_version(attributes: Mapping[Any, Any]) -> None:
    """Raise DatasetError for a file whose schema is newer, or older than version 2."""
    version = attributes.get("schema_version")
    if not isinstance(version, Integral):
        return
    if int(version) > schema.SCHEMA_VERSION:
        raise DatasetError(
            f"written by a newer isoklx (schema {version}, this one reads up to "
            f"{schema.SCHEMA_VERSION}); upgrade isoklx to read it"
        )
    if int(version) < 2:
        raise DatasetError(
            f"written by an older isoklx (schema {version}, this one reads from 2 on); "
            "build it again from its runs"
        )


def variables(version: object) -> set[str]:
    """Return the variables of a schema version; none for an unsupported one."""
    if version == schema.SCHEMA_VERSION:
        return set(schema.VARIABLES)
    return set(schema.VARIABLES) - SINCE_VERSION_3 if version == 2 else set()


def later_labels(c_star: Any, measured_with: Any) -> dict[str, Any]:
    """Derive the labels that files of version 2 lack; DatasetError for invalid JSON."""
    cells = zip(np.ravel(c_star).tolist(), np.ravel(measured_with).tolist(), strict=True)
    try:
        found = [
            split_labels({"c_star": value, "measured_with": json.loads(text or "{}")})
            for value, text in cells
        ]
    except ValueError as error:
        raise DatasetError(f"measured_with: {error}") from error
    return {
        name: np.array([each[name] for each in found], schema.COORDINATES[name].dtype).reshape(
            np.shape(c_star)
        )
        for name in schema.SPLIT
    }


def upgraded(ds: xr.Dataset) -> xr.Dataset:
    """Convert an opened file of version 2 to the current schema; return others unchanged.

    Labels of version 3 are added where they can be derived; answers to questions are missing. The
    Dataset may be decoded or not, and may be a selection that lacks variables.
    """
    if ds.attrs.get("schema_version") != 2 or "c_star" not in ds.variables:
        return ds
    c_star = ds["c_star"]
    texts = ds["measured_with"].values if "measured_with" in ds else np.full(c_star.shape, "")
    labels = later_labels(c_star.values, texts)
    added = {
        name: (c_star.dims, labels[name], schema.COORDINATES[name].attributes)
        for name in labels.keys() - ds.variables.keys()
    }
    if "question" in ds.dims and "answer" not in ds.variables:
        var = schema.DATA["answer"]
        dims = tuple(dim for dim in var.dims if dim in ds.dims)
        decoded = "gen_len" not in ds or ds["gen_len"].dtype.kind == "f"
        shape = [ds.sizes[dim] for dim in dims]
        values = np.full(shape, np.nan) if decoded else np.full(shape, var.fill, var.dtype)
        ds = ds.assign(answer=(dims, values, var.attributes, {"_FillValue": var.fill}))
    version = {"schema_version": np.int32(schema.SCHEMA_VERSION)}
    out = ds.assign_coords(added).assign_attrs(version)
    out.set_close(ds.close)
    return out
