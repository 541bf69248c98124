"""Selection by label, and restoration of the dimensions that a selection has dropped."""

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
"""Each value asked for, as an error writes it, and its positions."""

MOST = 24
"""Maximum number of labels that an error lists."""


def select(ds: Labelled, /, **labels: Any) -> Labelled:
    """Select part of a sweep, or of a result computed from one, by label.

    Use it instead of ``ds.sel(method="pca")``, which returns all of `ds` without an error, because
    ``method`` is a parameter of `xarray.Dataset.sel`.

    Parameters
    ----------
    ds : Dataset or DataArray
        A sweep, a selection of it, or a result such as that of `isoklx.survival`.
    **labels
        One value, several values, or a slice that includes both ends, per label. A label is a
        dimension (``alpha=1.0``, ``token=slice(0, 19)``, ``threshold=0.75``) or a label of a cell
        (``run_id``, ``method="pca"``, ``seed=[0, 1]``, or any coordinate of ``cell`` that you
        assigned). Floats are equal when they differ by at most 1e-9, relative.

    Returns
    -------
    Dataset or DataArray
        The part that matches all labels; lazy where `ds` is. As with ``sel``, a single value of an
        index (a dimension, or ``run_id``) drops the dimension, and several values determine the
        order; each is returned once. Any other label keeps the dimension and its order, even if
        only one cell matches.

    Raises
    ------
    UsageError
        When `ds` lacks the label, or a value is not found, alone or in combination with the other
        labels; the message lists the available ones.

    Examples
    --------
    >>> import isoklx
    >>> ds = isoklx.open_sweep("data/sample")
    >>> pca = select(ds, method="pca", seed=[0, 1], alpha=1.0)
    >>> pca.sizes["cell"], "alpha" in pca.dims
    (4, False)
    >>> select(ds, seed=7)
    Traceback (most recent call last):
    isoklx.errors.UsageError: seed 7 not found; available: 0, 1
    """
    for dim, wanted in _by_dimension(ds, labels).items():
        ds = _select_along(ds, dim, wanted)
    return ds


def select_alphas(
    ds: xr.Dataset, alphas: float | Sequence[float] | npt.NDArray[np.floating[Any]]
) -> xr.Dataset:
    """Select doses by label, in the order given, and keep their dimension."""
    schema.require(ds, ["alpha"])
    return select(ds, alpha=np.atleast_1d(alphas))


def restore_dims(ds: xr.Dataset) -> xr.Dataset:
    """Restore, with length 1, the dimensions that the selection of a single label has dropped."""
    # Variables that do not fit the schema stay as they are: `schema.require` rejects them where
    # they are needed.
    single = [dim for dim in schema.DIMS if schema.is_single(ds, dim)]
    dims = {name: var.dims for name, var in schema.COORDINATES.items()}
    if "cell" in single:  # then coordinates that a user assigned are labels of that cell
        dims = {str(name): ("cell",) for name, label in ds.coords.items() if not label.dims} | dims
    # Coordinates first: a dimension's length comes from its label.
    ds = ds.assign_coords(_restored(ds, dims, single))
    data = {**schema.DATA, **schema.TEXTS}
    return ds.assign(_restored(ds, {name: var.dims for name, var in data.items()}, single))


def with_absent(ds: xr.Dataset, names: Iterable[str]) -> xr.Dataset:
    """Add missing variables of the schema as NaN, without using memory."""
    absent = {name: schema.DATA[name] for name in names if name not in ds.variables}
    nothing = {
        name: (var.dims, np.broadcast_to(np.nan, [ds.sizes.get(dim, 0) for dim in var.dims]))
        for name, var in absent.items()
    }
    return ds.assign(nothing)


def _restored(
    ds: xr.Dataset, dims: Mapping[str, tuple[str, ...]], single: Sequence[str]
) -> dict[str, xr.Variable]:
    """Return the variables whose dimensions can all be restored."""
    restored = {}
    for name in dims.keys() & ds.variables.keys():
        own, whole = ds[name].dims, dims[name]
        if own != whole and set(own) <= set(whole) <= {*own, *single}:
            restored[name] = ds[name].variable.set_dims(whole)  # type: ignore[no-untyped-call]
    return restored


def _by_dimension(
    ds: xr.Dataset | xr.DataArray, labels: Mapping[str, Any]
) -> dict[Hashable, dict[str, Any]]:
    """Sort the labels asked for by dimension; None for labels of a single cell or dose."""
    wanted: dict[Hashable, dict[str, Any]] = {}
    for name, value in labels.items():
        if name not in ds.coords or ds[name].ndim > 1:
            known = ", ".join(str(each) for each, label in ds.coords.items() if label.ndim <= 1)
            raise UsageError(f"label {name!r} not found; available: {known or 'none'}")
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
    chosen = _matching_all(masks.values(), known[next(iter(known))].size)
    positions = np.flatnonzero(chosen)
    for name, of_value in masks.items():
        if name not in ds.xindexes and name != "run_id":
            continue
        if not isinstance(wanted[name], slice) and _is_scalar(wanted[name]) and positions.size == 1:
            return ds.isel({dim: int(positions[0])})
        if len(of_value) > 1:
            in_order = (i for _, mask in of_value for i in np.flatnonzero(mask & chosen))
            positions = np.array(list(dict.fromkeys(in_order)))
    return ds.isel({dim: positions})


def _require_each(
    name: str, of_value: _Masks, labels: npt.NDArray[Any], others: Mapping[str, _Masks]
) -> None:
    """Raise UsageError unless each value is found together with the other labels."""
    having = _matching_all(others.values(), labels.size)
    absent = [text for text, mask in of_value if not (mask & having).any()]
    if absent or not of_value:
        beside = " and ".join(
            f"{other} {' or '.join(text for text, _ in each)}" for other, each in others.items()
        )
        raise UsageError(
            f"{name} {', '.join(absent) or '[]'}{f' with {beside}' if beside else ''} not found; "
            f"available: {_format_labels(labels[having])}"
        )


def _matching_all(masks: Iterable[_Masks], size: int) -> _Mask:
    """Mark the labels that have one of the values of each mask."""
    having = np.ones(size, dtype=bool)
    for of_value in masks:
        having &= np.any([mask for _, mask in of_value], axis=0)
    return having


def _masks(name: str, labels: npt.NDArray[Any], value: Any) -> _Masks:
    if isinstance(value, slice):
        return [(f"from {value.start} to {value.stop}", _within(name, labels, value))]
    values = [value] if _is_scalar(value) else list(value)
    values = [each.item() if hasattr(each, "item") else each for each in values]
    return [(_format_value(each), _equal(labels, each)) for each in values]


def _within(name: str, labels: npt.NDArray[Any], ends: slice) -> _Mask:
    if ends.step is not None:
        raise UsageError(f"{name} must be a slice without a step, got {ends}")
    inside = np.ones(labels.shape, dtype=bool)
    try:
        if ends.start is not None:
            inside &= (labels >= ends.start) | _equal(labels, ends.start)
        if ends.stop is not None:
            inside &= (labels <= ends.stop) | _equal(labels, ends.stop)
    except TypeError:
        raise UsageError(
            f"{name} cannot be compared with {ends}; available: {_format_labels(labels)}"
        ) from None
    return inside


def _equal(labels: npt.NDArray[Any], value: Any) -> _Mask:
    if labels.dtype.kind == "f" and isinstance(value, Real):
        if value != value:  # noqa: PLR0124
            return np.asarray(np.isnan(labels))
        return np.asarray(schema.same_dose(labels, float(value)))
    if labels.dtype.kind in "iu" and isinstance(value, Real):
        return np.asarray(labels == value)
    return np.array([bool(label == value) for label in labels.tolist()], dtype=bool)


def _is_scalar(value: Any) -> bool:
    one = isinstance(value, str) or not isinstance(value, Iterable)
    return one or getattr(value, "ndim", 1) == 0


def _format_value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else repr(value)


def _format_labels(labels: npt.NDArray[Any]) -> str:
    """Format unique labels for an error, numbers ascending."""
    labels = np.unique(labels) if labels.dtype.kind in "biuf" else labels
    distinct = [
        f"{x:g}" if isinstance(x, float) else str(x) for x in dict.fromkeys(labels.tolist())
    ]
    more = f" and {len(distinct) - MOST} more" if len(distinct) > MOST else ""
    return ", ".join(distinct[:MOST]) + more or "none"
