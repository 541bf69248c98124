"""Which group each cell of a sweep belongs to."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from isoklx import schema
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

    A group with several values of a label of `isoklx.schema.SPLIT` is split by it, as if that had
    been asked for.

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
    names = split_by(ds, by, present)
    labels = {}
    codes = [np.zeros(present.shape, dtype=np.intp) for _ in names]
    for name, code in zip(names, codes, strict=True):
        values, code[present] = codes_of(name, ds[name].values[present])
        labels[name] = xr.Variable((name,), values, ds[name].attrs)
    shape = tuple(label.size for label in labels.values())
    code = np.ravel_multi_index(codes, shape) if names else np.zeros(present.shape, dtype=np.intp)
    return Groups(labels, xr.DataArray(code, dims="cell"))


def split_by(
    ds: xr.Dataset,
    by: str | Sequence[str] | None = None,
    present: npt.NDArray[np.bool_] | None = None,
) -> list[str]:
    """Name the labels that cells are grouped by: those asked for, then what is never pooled.

    Parameters
    ----------
    ds, by
        As for `group_cells`.
    present : array (cell,), bool, optional
        The cells that are grouped; by default all.

    Returns
    -------
    list of str
        `by`, and every label of `isoklx.schema.SPLIT` of which a group has several values. This is
        the one place where that rule is applied.

    Raises
    ------
    UsageError
        As `group_cells` does.

    Examples
    --------
    >>> sides = {"method": ("cell", ["pca", "pca"]), "sign": ("cell", ["+", "-"])}
    >>> split_by(xr.Dataset(coords=sides), "method")
    ['method', 'sign']
    """
    names = check_labels(by, ds)
    there = cell_labels(ds)
    kept = [name for name in schema.SPLIT if name in there and name not in names]
    cells = np.ones(ds.sizes["cell"], dtype=bool) if present is None else present
    codes = {name: codes_of(name, ds[name].values[cells])[1].tolist() for name in (*names, *kept)}

    def count(labels: Sequence[str]) -> int:
        columns = [codes[name] for name in labels]
        return len(set(zip([0] * np.count_nonzero(cells), *columns, strict=True)))

    return [*names, *(name for name in kept if count([*names, name]) > count(names))]


def occurring(
    ds: xr.Dataset, names: Sequence[str]
) -> Iterator[tuple[dict[str, Any], npt.NDArray[np.intp]]]:
    """Yield each combination of labels that occurs, ascending, and the places of its cells.

    Examples
    --------
    >>> ds = xr.Dataset(coords={"method": ("cell", ["pca", "mean_diff", "pca"])})
    >>> list(occurring(ds, ["method"]))
    [({'method': 'mean_diff'}, array([1])), ({'method': 'pca'}, array([0, 2]))]
    """
    found = {name: codes_of(name, ds[name].values) for name in names}
    labels = {name: as_keys(values) for name, (values, _) in found.items()}
    codes = np.stack([np.zeros(ds.sizes["cell"], int), *(code for _, code in found.values())])
    combined, group = np.unique(codes, axis=1, return_inverse=True)
    for i, (_, *at) in enumerate(combined.T):
        named = {name: labels[name][place] for name, place in zip(names, at, strict=True)}
        yield named, np.flatnonzero(group.ravel() == i)


def as_keys(labels: npt.NDArray[Any]) -> list[Any]:
    """Return labels as keys of a dict: every NaN is one object, and so equal to the others."""
    return [math.nan if label != label else label for label in labels.tolist()]  # noqa: PLR0124


def has_label(labels: npt.NDArray[Any], label: object) -> npt.NDArray[np.bool_]:
    """Where labels are a given one; NaN is the same as NaN.

    Examples
    --------
    >>> has_label(np.array([0.0, np.nan]), np.nan)
    array([False,  True])
    """
    if isinstance(label, float) and math.isnan(label):
        return np.asarray(labels != labels)  # noqa: PLR0124
    return np.asarray(labels == label)


def check_labels(by: str | Sequence[str] | None, ds: xr.Dataset) -> list[str]:
    """Check what cells are grouped by.

    Parameters
    ----------
    by : str or sequence of str, optional
        Labels of a cell; none by default.
    ds : Dataset
        A sweep, with dimension ``cell``.

    Returns
    -------
    list of str

    Raises
    ------
    UsageError
        When `by` names what is no label of a cell, or the same label twice.

    Examples
    --------
    >>> check_labels("seed", xr.Dataset(coords={"seed": ("cell", [3])}))
    ['seed']
    """
    names = [by] if isinstance(by, str) else list(by or [])
    for name in names:
        check_label(name, cell_labels(ds))
    if len(set(names)) < len(names):
        raise UsageError(f"by={','.join(names)}: give each label once")
    return names


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


def codes_of(name: str, values: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], Any]:
    """The different labels, ascending, and which of them each cell has; all NaN are one label."""
    try:
        occurring, code = np.unique(values, return_inverse=True)
    except TypeError:
        raise UsageError(f"cannot group by {name!r}: its labels are of several types") from None
    return occurring, code
