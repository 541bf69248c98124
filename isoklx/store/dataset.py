"""Cells to one Dataset: labels align them, never position."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from isoklx import schema
from isoklx.cells.parsing import positions, union
from isoklx.cells.reading import Cell
from isoklx.errors import BuildError

GROUP = "build"
"""The netCDF group that holds it, out of the way of those who look for data."""

VARIABLE = "manifest"

if TYPE_CHECKING:
    import xarray as xr


def entry_of(cell: Cell) -> str:
    """One cell's entry, as a line of JSON."""
    return json.dumps(
        {
            "folder": str(cell.folder),
            "stamps": cell.stamps,
            "alpha": cell.alpha.tolist(),
            "fork": cell.fork.tolist(),
            "shapes": cell.shapes,
            "dtype": cell.dtype,
            "notes": cell.notes,
            **({} if cell.texts_hash is None else {"texts_hash": cell.texts_hash}),
        }
    )


def chunk_shape(shape: Sequence[int], itemsize: int, least: int) -> tuple[int, ...]:
    """One dose of whole trajectories, over as many cells as make a chunk worth its overhead.

    People slice by dose over all cells, or take a cell whole; a chunk that holds one dose of one
    cell serves both without reading anything else. Tokens are never split: each statistic of a
    trajectory needs all of it. Cells are joined only where one alone is smaller than `least`.

    Parameters
    ----------
    shape : sequence of int
        Lengths along cell, alpha, and what a trajectory has.
    itemsize : int
        Bytes of a value.
    least : int
        Bytes that a chunk is worth.

    Examples
    --------
    >>> chunk_shape((9, 8, 32, 4096), 4, 65_536), chunk_shape((90, 8, 8, 512), 4, 65_536)
    ((1, 1, 32, 4096), (4, 1, 8, 512))
    """
    cells, _, *trajectory = (max(length, 1) for length in shape)
    size = itemsize * int(np.prod(trajectory))
    return min(cells, max(least // size, 1)), 1, *trajectory


def blocks(cells: Sequence[Cell], length: int) -> Iterator[tuple[int, Sequence[Cell]]]:
    """Cells that lie in the same chunks, with the index of the first.

    Parameters
    ----------
    cells : sequence of Cell
        All of a sweep, in order.
    length : int
        Of a chunk along ``cell``.

    Examples
    --------
    >>> list(blocks("abc", 2))
    [(0, 'ab'), (2, 'c')]
    """
    for start in range(0, len(cells), length):
        yield start, cells[start : start + length]


@dataclass(frozen=True)
class Alignment:
    """The labels of a sweep.

    Parameters
    ----------
    labels : mapping of str to ndarray
        The index of every dimension but ``cell``, in the dtype of the schema: the ascending union
        of the cells' doses and fork points, and counts from 0 as long as the longest.
    """

    labels: Mapping[str, Any]

    @classmethod
    def of(cls, cells: Sequence[Cell]) -> Alignment:
        """Return the labels that hold all of ``cells``; their order does not matter.

        Raises
        ------
        BuildError
            When doses of one cell cannot be told apart because others lie between them.
        """
        lengths = dict.fromkeys(schema.DIMS, 0)
        for cell in cells:
            for name, shape in cell.shapes.items():
                for dim, length in zip(schema.ANY[name].dims[1:], shape, strict=True):
                    lengths[dim] = max(lengths[dim], length)
        doses = np.unique(np.concatenate([cell.alpha for cell in cells]))
        unions = {
            "alpha": union(doses),
            "fork": np.unique(np.concatenate([cell.fork for cell in cells])),
        }
        # Where every dose kept its own label, so did those of each cell.
        for cell in cells if unions["alpha"].size < doses.size else ():
            if np.unique(positions(unions["alpha"], cell.alpha)).size < cell.alpha.size:
                raise BuildError(f"{cell.folder}: its alphas are too near to those of other cells")
        return cls(
            {
                dim: unions.get(dim, np.arange(lengths[dim])).astype(schema.COORDINATES[dim].dtype)
                for dim in schema.DIMS
                if dim != "cell"
            }
        )

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a variable for one cell."""
        return tuple(self.labels[dim].size for dim in schema.ANY[name].dims[1:])

    def placed(self, name: str, cells: Sequence[Cell]) -> Any:
        """Return a data variable over ``cells``, its fill value wherever a cell has none."""
        var = schema.ANY[name]
        if var.dims == ("cell",) and var.fill is None:
            return np.array([cell.data[name] for cell in cells], dtype=var.dtype)
        dtype = storage_dtype(name, cells)
        # Without a fill value: an empty text, or a flag that is not up.
        nothing = "" if var.dtype == "str" else 0
        fill: Any = nothing if var.fill is None else var.fill
        out: Any = np.full((len(cells), *self.shape(name)), fill, dtype=dtype)
        for i, cell in enumerate(cells):
            if cell.shapes[name] == out.shape[1:]:  # it has every label there is
                out[i] = cell.data[name]
                continue
            if 0 in cell.shapes[name]:
                continue
            own = {
                "alpha": positions(self.labels["alpha"], cell.alpha),
                "fork": np.searchsorted(self.labels["fork"], cell.fork),
            }
            where: list[Any] = [
                own[dim][:length] if dim in own else np.arange(length)
                for dim, length in zip(var.dims[1:], cell.shapes[name], strict=True)
            ]
            out[(i, *np.ix_(*where))] = cell.data[name]
        return out


def cell_label(name: str, cells: Sequence[Cell]) -> Any:
    """One label of every cell, in the dtype of the schema."""
    return np.array([cell.labels[name] for cell in cells], dtype=schema.COORDINATES[name].dtype)


def storage_dtype(name: str, cells: Sequence[Cell]) -> str:
    """The numpy dtype of a variable of several dimensions; texts are objects."""
    var = schema.ANY[name]
    if var.measured:
        return measured_dtype(cells)
    return "O" if var.dtype == "str" else var.dtype


def measured_dtype(cells: Sequence[Cell]) -> str:
    """The dtype in which the measured arrays of ``cells`` were read."""
    return max((cell.dtype for cell in cells), key=lambda dtype: np.dtype(dtype).itemsize)


def texts_of(cells: Sequence[Cell]) -> Mapping[str, schema.Variable]:
    """The variables that cells have beside those of every sweep: none, or those of texts."""
    return {} if cells[0].texts_hash is None else schema.TEXTS


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
    >>> from isoklx.cells.reading import read_cell
    >>> from isoklx.simulation.sweep import simulate
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
    import xarray as xr  # late: a build needs none

    ds = xr.Dataset(data, coords)
    for each, variable in ds.variables.items():
        variable.attrs = schema.ANY[str(each)].attributes
    return ds
