"""Groups of the cells of a sweep."""

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
    """Groups of cells: the product of the values of their labels."""

    labels: dict[str, xr.Variable]
    """Coordinate of each group dimension, ascending; empty for one group of all cells."""
    code: xr.DataArray
    """Flat index (cell,) of each cell's group in the product of the labels."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each group dimension."""
        return tuple(label.size for label in self.labels.values())


def group_cells(
    ds: xr.Dataset, by: str | Sequence[str] | None, present: npt.NDArray[np.bool_]
) -> Groups:
    """Group cells by labels; a cell that is not ``present`` gets an arbitrary group."""
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
    """Return the labels in ``by``, and the labels of `schema.SPLIT` that vary within a group."""
    # No other place decides which labels are never pooled.
    names = check_labels(by, ds)
    available = cell_labels(ds)
    kept = [name for name in schema.SPLIT if name in available and name not in names]
    cells = np.ones(ds.sizes["cell"], dtype=bool) if present is None else present
    codes = {name: codes_of(name, ds[name].values[cells])[1].tolist() for name in (*names, *kept)}

    def count(labels: Sequence[str]) -> int:
        columns = [codes[name] for name in labels]
        return len(set(zip([0] * np.count_nonzero(cells), *columns, strict=True)))

    return [*names, *(name for name in kept if count([*names, name]) > count(names))]


def occurring(
    ds: xr.Dataset, names: Sequence[str]
) -> Iterator[tuple[dict[str, Any], npt.NDArray[np.intp]]]:
    """Yield each combination of labels that occurs, ascending, with the indices of its cells."""
    found = {name: codes_of(name, ds[name].values) for name in names}
    labels = {name: as_keys(values) for name, (values, _) in found.items()}
    codes = np.stack([np.zeros(ds.sizes["cell"], int), *(code for _, code in found.values())])
    combined, group = np.unique(codes, axis=1, return_inverse=True)
    for i, (_, *at) in enumerate(combined.T):
        named = {name: labels[name][place] for name, place in zip(names, at, strict=True)}
        yield named, np.flatnonzero(group.ravel() == i)


def as_keys(labels: npt.NDArray[Any]) -> list[Any]:
    """Return labels as keys of a dict; all NaN are one object, and so equal."""
    return [math.nan if label != label else label for label in labels.tolist()]  # noqa: PLR0124


def has_label(labels: npt.NDArray[Any], label: object) -> npt.NDArray[np.bool_]:
    """Compare labels with a value; NaN equals NaN."""
    if isinstance(label, float) and math.isnan(label):
        return np.asarray(labels != labels)  # noqa: PLR0124
    return np.asarray(labels == label)


def check_labels(by: str | Sequence[str] | None, ds: xr.Dataset) -> list[str]:
    """Return ``by`` as a list; raise UsageError for an unknown or repeated label."""
    names = [by] if isinstance(by, str) else list(by or [])
    for name in names:
        check_label(name, cell_labels(ds))
    if len(set(names)) < len(names):
        raise UsageError(f"labels in by must be unique, got {','.join(names)}")
    return names


def cell_labels(ds: xr.Dataset) -> list[str]:
    """List the labels of a cell: labels of the schema, and labels that a user assigned."""
    return [str(name) for name, label in ds.coords.items() if label.dims == ("cell",)]


def check_label(by: str, labels: Sequence[str]) -> None:
    """Raise UsageError unless ``by`` is one of the labels."""
    if by not in labels:
        available = ", ".join(labels) or "none"
        raise UsageError(f"cannot group by {by!r}: label not found; available: {available}")


def codes_of(name: str, values: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], Any]:
    """Return the unique labels, ascending, and their index per cell; all NaN are one label."""
    try:
        occurring, code = np.unique(values, return_inverse=True)
    except TypeError:
        raise UsageError(f"cannot group by {name!r}: its labels are of several types") from None
    return occurring, code
