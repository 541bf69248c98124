"""Which group each cell of a sweep belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from isoklx.errors import UsageError


@dataclass(frozen=True)
class Groups:
    """The groups that cells fall into: every combination of the labels that occur.

    Parameters
    ----------
    labels : mapping
        Coordinate of each group dimension, ascending; empty for one group of all cells.
    code : DataArray (cell,), int
        Flat index of each cell's group in the product of the labels.
    """

    labels: dict[str, xr.Variable]
    code: xr.DataArray

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of labels along each group dimension."""
        return tuple(label.size for label in self.labels.values())


def group_cells(
    ds: xr.Dataset, by: str | Sequence[str] | None, present: npt.NDArray[np.bool_]
) -> Groups:
    """Group the cells of a sweep by their labels.

    Parameters
    ----------
    ds : Dataset
        A sweep, with dimension ``cell``.
    by : str or sequence of str, optional
        Labels of a cell, such as ``"method"``, those too that were assigned as a coordinate of
        ``cell``; by default all cells are one group.
    present : array (cell,), bool
        The cells whose labels make groups; the others are of any group.

    Returns
    -------
    Groups

    Raises
    ------
    UsageError
        When `by` names what is no label of a cell, or the same label twice.

    Examples
    --------
    >>> ds = xr.Dataset(coords={"method": ("cell", ["pca", "mean_diff", "pca"])})
    >>> groups = group_cells(ds, "method", np.array([True, True, True]))
    >>> groups.labels["method"].values.tolist(), groups.code.values.tolist()
    (['mean_diff', 'pca'], [1, 0, 1])
    """
    names = [by] if isinstance(by, str) else list(by or [])
    for name in names:
        check_label(name, cell_labels(ds))
    if len(set(names)) < len(names):
        raise UsageError(f"by={','.join(names)}: give each label once")
    labels = {}
    codes = [np.zeros(present.shape, dtype=np.intp) for _ in names]
    for name, code in zip(names, codes, strict=True):
        occurring, code[present] = _distinct(name, ds[name].values[present])
        labels[name] = xr.Variable((name,), occurring, ds[name].attrs)
    shape = tuple(label.size for label in labels.values())
    code = np.ravel_multi_index(codes, shape) if names else np.zeros(present.shape, dtype=np.intp)
    return Groups(labels, xr.DataArray(code, dims="cell"))


def cell_labels(ds: xr.Dataset) -> list[str]:
    """Name the labels of a cell: those of the schema, and those of the user's own.

    Parameters
    ----------
    ds : Dataset
        A sweep, with dimension ``cell``.

    Returns
    -------
    list of str

    Examples
    --------
    >>> cell_labels(xr.Dataset(coords={"seed": ("cell", [3]), "family": ("cell", ["old"])}))
    ['seed', 'family']
    """
    return [str(name) for name, label in ds.coords.items() if label.dims == ("cell",)]


def check_label(by: str, labels: Sequence[str]) -> None:
    """Check what is grouped by.

    Parameters
    ----------
    by : str
        The name of a label.
    labels : sequence of str
        Those that there are.

    Raises
    ------
    UsageError
        When `by` is none of them; the message lists them.

    Examples
    --------
    >>> check_label("method", ["method", "seed"])
    """
    if by not in labels:
        raise UsageError(f"cannot group by {by!r}; give one of {', '.join(labels) or 'none'}")


def _distinct(name: str, values: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], Any]:
    """The different labels, ascending, and which of them each cell has."""
    try:
        occurring, code = np.unique(values, return_inverse=True)
    except TypeError:
        raise UsageError(f"cannot group by {name!r}: its labels are of several types") from None
    return occurring, code
