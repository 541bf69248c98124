"""Assemble cells into one Dataset, aligned by labels and never by position."""

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
"""netCDF group of the manifest, apart from the data."""

VARIABLE = "manifest"

if TYPE_CHECKING:
    import xarray as xr


def entry_of(cell: Cell) -> str:
    """Return one cell's entry in the manifest, as a line of JSON."""
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
    """Return chunks of one dose of whole trajectories, over enough cells to reach `least` bytes."""
    # Users slice by dose over all cells, or take a cell whole: a chunk of one dose of one cell
    # serves both. Tokens are never split, because each statistic of a trajectory needs all of it.
    cells, _, *trajectory = (max(length, 1) for length in shape)
    size = itemsize * int(np.prod(trajectory))
    return min(cells, max(least // size, 1)), 1, *trajectory


def blocks(cells: Sequence[Cell], length: int) -> Iterator[tuple[int, Sequence[Cell]]]:
    """Yield the cells of each chunk along ``cell``, with the index of the first."""
    for start in range(0, len(cells), length):
        yield start, cells[start : start + length]


@dataclass(frozen=True)
class Alignment:
    """Index of every dimension but ``cell``, in the dtype of the schema.

    Doses and forks are the ascending union of those of the cells; the other indexes count from 0.
    """

    labels: Mapping[str, Any]

    @classmethod
    def of(cls, cells: Sequence[Cell]) -> Alignment:
        """Return the labels of all cells; BuildError where a cell's doses become one label."""
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
        # If every dose kept a label of its own, the doses of each cell did too.
        for cell in cells if unions["alpha"].size < doses.size else ():
            if np.unique(positions(unions["alpha"], cell.alpha)).size < cell.alpha.size:
                raise BuildError(f"{cell.folder}: its alphas are too close to those of other cells")
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
        """Return a data variable over ``cells``, with its fill value where a cell lacks one."""
        var = schema.ANY[name]
        if var.dims == ("cell",) and var.fill is None:
            return np.array([cell.data[name] for cell in cells], dtype=var.dtype)
        dtype = storage_dtype(name, cells)
        # Variables without a fill value are texts and flags.
        empty = "" if var.dtype == "str" else 0
        fill: Any = empty if var.fill is None else var.fill
        out: Any = np.full((len(cells), *self.shape(name)), fill, dtype=dtype)
        for i, cell in enumerate(cells):
            if cell.shapes[name] == out.shape[1:]:  # the cell has every label
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
    """Return one label of every cell, in the dtype of the schema."""
    return np.array([cell.labels[name] for cell in cells], dtype=schema.COORDINATES[name].dtype)


def storage_dtype(name: str, cells: Sequence[Cell]) -> str:
    """Return the numpy dtype of a variable with several dimensions; texts are objects."""
    var = schema.ANY[name]
    if var.measured:
        return measured_dtype(cells)
    return "O" if var.dtype == "str" else var.dtype


def measured_dtype(cells: Sequence[Cell]) -> str:
    """Return the dtype in which the measured arrays of ``cells`` were read."""
    return max((cell.dtype for cell in cells), key=lambda dtype: np.dtype(dtype).itemsize)


def texts_of(cells: Sequence[Cell]) -> Mapping[str, schema.Variable]:
    """Return the text variables of cells; none where they were read without texts."""
    return {} if cells[0].texts_hash is None else schema.TEXTS


def assemble(
    cells: Sequence[Cell],
    measured: Callable[[Alignment, str, Sequence[Cell]], Any] = Alignment.placed,
) -> xr.Dataset:
    """Return one Dataset of cells with any mix of windows, alphas, prompts and forks.

    Cells are sorted by ``run_id``. Values are as xarray decodes the file: missing is NaN, also in
    ``gen_len`` and ``gen_len_qa`` (float64). A dimension without values in any cell has length 0.
    `measured` returns the values of a large variable from the alignment, its name and the sorted
    cells; by default it loads them into memory.
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
    import xarray as xr  # late: a netCDF build does without xarray

    ds = xr.Dataset(data, coords)
    for each, variable in ds.variables.items():
        variable.attrs = schema.ANY[str(each)].attributes
    return ds
