"""Cells to one Dataset: labels align them, never position."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from isoklx import schema
from isoklx.cells import Cell


def assemble(cells: Sequence[Cell]) -> xr.Dataset:
    """One Dataset of any mix of windows, alphas, prompts and forks.

    Parameters
    ----------
    cells : sequence of Cell
        At least one; their order does not matter.

    Returns
    -------
    Dataset
        Every variable of the schema, cells ascending by ``run_id``, decoded as xarray decodes the
        file: NaN is missing, in ``gen_len`` and ``gen_len_qa`` (float64) as well. A dimension
        that no cell has values along is of length 0.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from isoklx.cells import read_cell
    >>> from isoklx.simulator import simulate
    >>> with TemporaryDirectory() as root:
    ...     ds = assemble([read_cell(folder) for folder in simulate(root)])
    >>> ds.kl.dims
    ('cell', 'alpha', 'prompt', 'token')
    """
    cells = sorted(cells, key=lambda cell: cell.labels["run_id"])
    labels = _labels(cells)
    sizes = {"cell": len(cells)} | {dim: values.size for dim, values in labels.items()}
    coords = {name: (name, values) for name, values in labels.items()}
    for name in schema.CELL_LABELS:
        column = [cell.labels[name] for cell in cells]
        coords[name] = ("cell", np.array(column, dtype=schema.COORDINATES[name].dtype))
    data = {
        name: (var.dims, _placed(name, var, cells, labels, sizes))
        for name, var in schema.DATA.items()
    }
    ds = xr.Dataset(data, coords)
    for name, variable in schema.VARIABLES.items():
        ds[name].attrs = variable.attributes
    return ds


def _labels(cells: Sequence[Cell]) -> dict[str, Any]:
    """The index of every dimension but ``cell``: unions of labels, and counts from 0."""
    lengths = dict.fromkeys(schema.DIMS, 0)
    for cell in cells:
        for name, values in cell.data.items():
            for dim, length in zip(schema.DATA[name].dims[1:], np.shape(values), strict=True):
                lengths[dim] = max(lengths[dim], length)
    unions = {
        "alpha": np.unique(np.concatenate([cell.alpha for cell in cells])),
        "fork": np.unique(np.concatenate([cell.fork for cell in cells])),
    }
    return {
        dim: unions.get(dim, np.arange(lengths[dim])).astype(schema.COORDINATES[dim].dtype)
        for dim in schema.DIMS
        if dim != "cell"
    }


def _placed(
    name: str,
    var: schema.Variable,
    cells: Sequence[Cell],
    labels: dict[str, Any],
    sizes: dict[str, int],
) -> Any:
    """One variable over all cells, each cell's values at its own labels."""
    if var.fill is None:
        return np.array([cell.data[name] for cell in cells], dtype=var.dtype)
    dtype = np.result_type(*(np.asarray(cell.data[name]).dtype for cell in cells))
    whole = np.issubdtype(dtype, np.integer)
    out = np.full([sizes[dim] for dim in var.dims], np.nan, dtype="float64" if whole else dtype)
    for i, cell in enumerate(cells):
        values = np.asarray(cell.data[name])
        if whole:
            values = np.where(values == var.fill, np.nan, values)
        own = {"alpha": cell.alpha, "fork": cell.fork}
        where: list[Any] = [
            np.searchsorted(labels[dim], own[dim][:length]) if dim in own else np.arange(length)
            for dim, length in zip(var.dims[1:], values.shape, strict=True)
        ]
        out[(i, *np.ix_(*where))] = values
    return out
