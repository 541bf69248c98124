"""Cells side by side: the union of their labels, and each cell's values at its own labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from isoklx import schema
from isoklx.cells.cell import Cell
from isoklx.cells.dose_labels import positions, union
from isoklx.errors import BuildError


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
