"""Choosing part of a sweep by label, and making whole again what a choice has dropped."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from numbers import Real
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import xarray as xr

from isoklx import schema
from isoklx.errors import UsageError

Labelled = TypeVar("Labelled", xr.Dataset, xr.DataArray)
_Mask = npt.NDArray[np.bool_]
_Masks = Sequence[tuple[str, _Mask]]
"""Each value that is wanted, as an error would write it, and where it is."""

MOST = 24
"""As many labels as an error lists."""


def select(ds: Labelled, /, **labels: Any) -> Labelled:
    """Choose part of a sweep, or of any result made from one, by its labels.

    ``ds.sel(method="pca")`` chooses nothing and says nothing, because `xarray.Dataset.sel` has a
    parameter of that name. This function has none.

    Parameters
    ----------
    ds : Dataset or DataArray
        A sweep, a selection of it, or a result such as that of `isoklx.survival`.
    **labels
        For each label a value, several, or a slice with both ends included: dimensions such as
        ``alpha=1.0``, ``token=slice(0, 19)`` or ``threshold=0.75``, and labels of a cell such as
        ``run_id``, ``method="pca"``, ``seed=[0, 1]`` or one that was assigned as a coordinate of
        ``cell``. Floating numbers are the same when they differ by at most 1e-9 relative.

    Returns
    -------
    Dataset or DataArray
        What has all of these labels; lazy where `ds` is. As with ``sel``, one value of an index
        (a dimension, or ``run_id``) drops the dimension, and several come in the order asked for,
        each of them once. Any other label keeps the dimension and its order: cells that share a
        method are several, even where there is but one.

    Raises
    ------
    UsageError
        When `ds` has no such label, or nothing has one of the values, alone or together with the
        other labels; the message names those that are there.

    Examples
    --------
    >>> import isoklx
    >>> ds = isoklx.open_sweep("data/sample")
    >>> pca = select(ds, method="pca", seed=[0, 1], alpha=1.0)
    >>> pca.sizes["cell"], "alpha" in pca.dims
    (4, False)
    >>> select(ds, method="pcb")
    Traceback (most recent call last):
    isoklx.errors.UsageError: no method 'pcb'; there is directional_ablation, mean_diff, pca
    """
    for dim, wanted in _by_dimension(ds, labels).items():
        ds = _select_along(ds, dim, wanted)
    return ds


def select_alphas(
    ds: xr.Dataset, alphas: float | Sequence[float] | npt.NDArray[np.floating[Any]]
) -> xr.Dataset:
    """Choose doses by their label, and keep their dimension.

    Parameters
    ----------
    ds : Dataset
        A sweep, or a selection of it.
    alphas : float or sequence of float
        Labels, as for `select`.

    Returns
    -------
    Dataset
        Those doses, each once, in the order of `alphas`.

    Raises
    ------
    DatasetError
        When `ds` has no doses.
    UsageError
        When one is not in the sweep; the message lists those that are.

    Examples
    --------
    >>> ds = xr.Dataset(coords={"alpha": [0.0, 0.25, 1.0]})
    >>> select_alphas(ds, [1, 0.25]).alpha.values
    array([1.  , 0.25])
    >>> select_alphas(ds, 0.5)
    Traceback (most recent call last):
    isoklx.errors.UsageError: no alpha 0.5; there is 0, 0.25, 1
    """
    schema.require(ds, ["alpha"])
    return select(ds, alpha=np.atleast_1d(alphas))


def restore_dims(ds: xr.Dataset) -> xr.Dataset:
    """Give back, with length 1, the dimensions that choosing a single label has dropped.

    Parameters
    ----------
    ds : Dataset
        A sweep or a selection of it, such as ``ds.sel(run_id="...")``.

    Returns
    -------
    Dataset
        Every variable with the dimensions of the schema, in their order; what fits no sweep stays
        as it is, for `isoklx.schema.require` to refuse where it is needed. Where a single cell was
        chosen, coordinates of the user's own are labels of that cell.

    Examples
    --------
    >>> ds = xr.Dataset({"c_star": ("cell", [2.0])}, {"method": ("cell", ["pca"])})
    >>> restore_dims(ds.isel(cell=0)).c_star.dims
    ('cell',)
    """
    single = [dim for dim in schema.DIMS if schema.is_single(ds, dim)]
    dims = {name: var.dims for name, var in schema.COORDINATES.items()}
    if "cell" in single:
        dims = {str(name): ("cell",) for name, label in ds.coords.items() if not label.dims} | dims
    # Coordinates first: a dimension's length comes from its label.
    ds = ds.assign_coords(_restored(ds, dims, single))
    data = {**schema.DATA, **schema.TEXTS}
    return ds.assign(_restored(ds, {name: var.dims for name, var in data.items()}, single))


def with_absent(ds: xr.Dataset, names: Iterable[str]) -> xr.Dataset:
    """Add variables that are not there without a number, for a function that can do without them.

    Parameters
    ----------
    ds : Dataset
        A sweep, with all its dimensions.
    names : iterable of str
        Measured variables of the schema.

    Returns
    -------
    Dataset
        Those that were missing are NaN throughout, and take no memory.

    Examples
    --------
    >>> with_absent(xr.Dataset(coords={"alpha": [0.0, 1.0]}), ["pmass"]).pmass.shape
    (0, 2, 0, 0)
    """
    absent = {name: schema.DATA[name] for name in names if name not in ds.variables}
    nothing = {
        name: (var.dims, np.broadcast_to(np.nan, [ds.sizes.get(dim, 0) for dim in var.dims]))
        for name, var in absent.items()
    }
    return ds.assign(nothing)


def _restored(
    ds: xr.Dataset, dims: Mapping[str, tuple[str, ...]], single: Sequence[str]
) -> dict[str, xr.Variable]:
    """The variables that can have all of their dimensions back."""
    restored = {}
    for name in dims.keys() & ds.variables.keys():
        own, whole = ds[name].dims, dims[name]
        if own != whole and set(own) <= set(whole) <= {*own, *single}:
            restored[name] = ds[name].variable.set_dims(whole)  # type: ignore[no-untyped-call]
    return restored


def _by_dimension(
    ds: xr.Dataset | xr.DataArray, labels: Mapping[str, Any]
) -> dict[Hashable, dict[str, Any]]:
    """What is wanted along each dimension; None for labels of which one was chosen before."""
    wanted: dict[Hashable, dict[str, Any]] = {}
    for name, value in labels.items():
        if name not in ds.coords or ds[name].ndim > 1:
            there = ", ".join(str(each) for each, label in ds.coords.items() if label.ndim <= 1)
            raise UsageError(f"no label {name!r}; there is {there or 'none'}")
        wanted.setdefault(next(iter(ds[name].dims), None), {})[name] = value
    return wanted


def _select_along(ds: Labelled, dim: Hashable, wanted: Mapping[str, Any]) -> Labelled:
    known = {name: np.atleast_1d(ds[name].values) for name in wanted}
    masks = {name: _masks(name, known[name], value) for name, value in wanted.items()}
    for name, of_value in masks.items():
        _require_each(name, of_value, known[name], {})
    for name, of_value in masks.items():
        others = {other: masks[other] for other in masks if other != name}
        _require_each(name, of_value, known[name], others)
    if dim is None:
        return ds
    chosen = _having(masks.values(), known[next(iter(known))].size)
    positions = np.flatnonzero(chosen)
    for name, of_value in masks.items():
        if name not in ds.xindexes and name != "run_id":
            continue
        if not isinstance(wanted[name], slice) and _is_one(wanted[name]) and positions.size == 1:
            return ds.isel({dim: int(positions[0])})
        if len(of_value) > 1:
            in_order = (i for _, mask in of_value for i in np.flatnonzero(mask & chosen))
            positions = np.array(list(dict.fromkeys(in_order)))
    return ds.isel({dim: positions})


def _require_each(
    name: str, of_value: _Masks, labels: npt.NDArray[Any], others: Mapping[str, _Masks]
) -> None:
    """Raise UsageError unless each of the values is there, on something that has the others."""
    having = _having(others.values(), labels.size)
    absent = [said for said, mask in of_value if not (mask & having).any()]
    if absent or not of_value:
        beside = " and ".join(
            f"{other} {' or '.join(said for said, _ in each)}" for other, each in others.items()
        )
        raise UsageError(
            f"no {name} {', '.join(absent) or 'given'}{f' with {beside}' if beside else ''}; "
            f"there is {_listed(labels[having])}"
        )


def _having(masks: Iterable[_Masks], size: int) -> _Mask:
    """Where each label has one of its values."""
    having = np.ones(size, dtype=bool)
    for of_value in masks:
        having &= np.any([mask for _, mask in of_value], axis=0)
    return having


def _masks(name: str, labels: npt.NDArray[Any], value: Any) -> _Masks:
    if isinstance(value, slice):
        return [(f"within {value.start} and {value.stop}", _within(name, labels, value))]
    values = [value] if _is_one(value) else list(value)
    values = [each.item() if hasattr(each, "item") else each for each in values]
    return [(_written(each), _equal(labels, each)) for each in values]


def _within(name: str, labels: npt.NDArray[Any], ends: slice) -> _Mask:
    if ends.step is not None:
        raise UsageError(f"{name}={ends}: give a slice without a step")
    inside = np.ones(labels.shape, dtype=bool)
    try:
        if ends.start is not None:
            inside &= (labels >= ends.start) | _equal(labels, ends.start)
        if ends.stop is not None:
            inside &= (labels <= ends.stop) | _equal(labels, ends.stop)
    except TypeError:
        raise UsageError(f"{name}={ends}: its labels are {_listed(labels)}") from None
    return inside


def _equal(labels: npt.NDArray[Any], value: Any) -> _Mask:
    if labels.dtype.kind == "f" and isinstance(value, Real):
        if value != value:  # noqa: PLR0124
            return np.asarray(np.isnan(labels))
        return np.asarray(schema.same_dose(labels, float(value)))
    if labels.dtype.kind in "iu" and isinstance(value, Real):
        return np.asarray(labels == value)
    return np.array([bool(label == value) for label in labels.tolist()], dtype=bool)


def _is_one(value: Any) -> bool:
    one = isinstance(value, str) or not isinstance(value, Iterable)
    return one or getattr(value, "ndim", 1) == 0


def _written(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else repr(value)


def _listed(labels: npt.NDArray[Any]) -> str:
    """Labels for an error, each once, numbers in their order."""
    labels = np.unique(labels) if labels.dtype.kind in "biuf" else labels
    distinct = [
        f"{x:g}" if isinstance(x, float) else str(x) for x in dict.fromkeys(labels.tolist())
    ]
    more = f" and {len(distinct) - MOST} more" if len(distinct) > MOST else ""
    return ", ".join(distinct[:MOST]) + more or "none"
