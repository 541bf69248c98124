"""Cells to one Dataset: labels align them, never position."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from isoklx import schema
from isoklx.cells.cell import Cell
from isoklx.store.alignment import Alignment, cell_label, texts_of


def assemble(
    cells: Sequence[Cell],
    measured: Callable[[Alignment, str, Sequence[Cell]], Any] = Alignment.placed,
) -> xr.Dataset:
    """One Dataset of any mix of windows, alphas, prompts and forks.

    Parameters
    ----------
    cells : sequence of Cell
        At least one; their order does not matter.
    measured : callable
        What a measured variable, or a text, holds, from the labels, its name and the cells in their
        order: by default its values in memory.

    Returns
    -------
    Dataset
        Every variable of the schema, and texts where cells were read with them; cells ascending by
        ``run_id``, decoded as xarray decodes the file: NaN is missing, in ``gen_len`` and
        ``gen_len_qa`` (float64) as well. A dimension that no cell has values along is of length 0.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from isoklx.cells.cell import read_cell
    >>> from isoklx.cells.simulator import simulate
    >>> with TemporaryDirectory() as root:
    ...     ds = assemble([read_cell(folder) for folder in simulate(root)])
    >>> ds.kl.dims
    ('cell', 'alpha', 'prompt', 'token')
    """
    cells = sorted(cells, key=lambda cell: cell.labels["run_id"])
    alignment = Alignment.of(cells)
    coords = {dim: (dim, labels) for dim, labels in alignment.labels.items()}
    coords |= {name: ("cell", cell_label(name, cells)) for name in schema.CELL_LABELS}
    variables = {**schema.DATA, **texts_of(cells)}
    data = {}
    for name, var in variables.items():
        large = var.measured or name in schema.TEXTS
        values = measured(alignment, name, cells) if large else alignment.placed(name, cells)
        if var.fill is not None and np.issubdtype(values.dtype, np.integer):
            values = np.where(values == var.fill, np.nan, values)
        data[name] = (var.dims, values)
    ds = xr.Dataset(data, coords)
    for each, variable in ds.variables.items():
        variable.attrs = schema.ANY[str(each)].attributes
    return ds
