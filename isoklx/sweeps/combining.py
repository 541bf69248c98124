"""Several sweeps as one, aligned by their labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from isoklx import schema
from isoklx.cells.parsing import positions, union
from isoklx.errors import DatasetError
from isoklx.stats.selection import restore_dims
from isoklx.store.opening import TEXTS
from isoklx.store.provenance import title

Key = tuple[str, str]
"""Identity of a cell: its ``run_id``, and the hash of its files."""


def combine(sweeps: Mapping[Path, xr.Dataset]) -> xr.Dataset:
    """Join sweeps over the union of their labels, ascending by ``run_id``; lazy where a sweep is.

    Doses within 1e-9 relative are one. Parts of one cell (same ``run_id`` and ``source_hash``)
    become one cell; different cells of the same name are prefixed with their sweep, as in
    ``dense/pca_s0_w512``. Variables of the schema that a sweep lacks are NaN or empty there; other
    variables are kept only if all sweeps have them. Raises DatasetError if a sweep lacks its
    labels.
    """
    paths, parts = list(sweeps), [_with_all_dims(path, ds) for path, ds in sweeps.items()]
    parts = _aligned([part.drop_indexes("run_id", errors="ignore") for part in parts])
    groups: dict[tuple[int, ...], list[Key]] = {}
    places = _places(paths, parts)
    for key, place in places.items():
        groups.setdefault(tuple(place), []).append(key)
    pieces = []
    for members, keys in groups.items():
        same = [parts[i].isel(cell=[places[key][i] for key in keys]) for i in members]
        run_ids = [_cell_name(key, places, paths) for key in keys]
        pieces.append(reduce(_filled, same).assign_coords(run_id=("cell", run_ids)))
    ds = xr.concat(
        pieces,
        "cell",
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="override",
        combine_attrs="override",
    )
    order = np.argsort(ds["run_id"].values, kind="stable")
    if (np.diff(order) != 1).any():
        ds = ds.isel(cell=order)
    for name in schema.ANY.keys() & ds.variables.keys():
        ds[name].attrs = dict(parts[0][name].attrs)
    return ds.set_xindex("run_id").assign_attrs(_attributes(ds, list(sweeps.values())))


def _with_all_dims(path: Path, ds: xr.Dataset) -> xr.Dataset:
    """Restore all dimensions of the variables of a sweep."""
    try:
        schema.require(ds, [name for name in schema.ANY if name in ds.variables])
        whole = restore_dims(ds)
        schema.require(whole, [dim for dim in schema.DIMS if dim in whole.dims and dim != "cell"])
    except DatasetError as error:
        raise DatasetError(f"{path}: {error}") from error
    return whole


def _aligned(parts: Sequence[xr.Dataset]) -> list[xr.Dataset]:
    """Give all parts the same variables and labels, except for their cells."""
    labels = {
        dim: _union(dim, [part[dim].values for part in parts if dim in part.variables])
        for dim in schema.DIMS
        if dim != "cell" and any(dim in part.variables for part in parts)
    }
    shared = set.intersection(*(set(part.variables) for part in parts))
    some = {str(name) for part in parts for name in part.variables if _has_missing_value(str(name))}
    return [_at_labels(part, labels, {*shared, *some, *labels}, some) for part in parts]


def _at_labels(
    part: xr.Dataset, labels: Mapping[str, npt.NDArray[Any]], kept: set[Any], some: set[str]
) -> xr.Dataset:
    """Reindex one part to the labels of all, with the variables to keep."""
    part = part.drop_vars(part.variables.keys() - kept)
    if "alpha" in part.variables:
        doses = labels["alpha"][positions(labels["alpha"], part["alpha"].values)]
        part = part.assign_coords(alpha=part["alpha"].copy(data=doses))
    missing = {name: _missing(da.dtype) for name, da in part.items()}
    own = {dim: values for dim, values in labels.items() if dim in part.dims}
    part = part.reindex(own, fill_value=missing)
    part = part.assign_coords({dim: labels[dim] for dim in labels.keys() - own.keys()})
    return part.assign({name: _empty_variable(part, name) for name in some - part.data_vars.keys()})


def _missing(dtype: np.dtype[Any]) -> Any:
    """Return the missing value of a dtype: empty text, a flag of 0, or NaN."""
    return "" if dtype.kind in "OUT" else 0 if dtype.kind in "iub" else np.nan


def _has_missing_value(name: str) -> bool:
    """Return whether a variable can represent missing values as NaN or an empty text."""
    var = {**schema.DATA, **schema.TEXTS}.get(name)
    has_word = var is not None and (var.fill is not None or var.dtype == "str")
    return has_word or name in schema.TEXTS


def _empty_variable(part: xr.Dataset, name: str) -> xr.Variable:
    var = schema.ANY[name]
    shape = [part.sizes[dim] for dim in var.dims]
    missing: Any = "" if var.dtype == "str" else np.float32("nan") if var.measured else np.nan
    if name == "token_chars":
        missing = np.int16(0)
    nothing = xr.Variable(var.dims, np.broadcast_to(missing, shape), var.attributes)
    # dask cannot choose the chunk size of objects.
    return nothing.astype(object).chunk({}) if name in TEXTS else nothing


def _union(dim: str, labels: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    all_labels = np.concatenate(labels)
    if dim != "alpha":
        return np.unique(all_labels).astype(labels[0].dtype)
    return union(all_labels)


def _places(paths: Sequence[Path], parts: Sequence[xr.Dataset]) -> dict[Key, dict[int, int]]:
    """Map each cell to its index in each part that contains it."""
    places: dict[Key, dict[int, int]] = {}
    for i, part in enumerate(parts):
        run_ids = part["run_id"].values.tolist()
        # Without a hash, cells are never joined.
        there = "source_hash" in part
        hashes = part["source_hash"].values.tolist() if there else [""] * len(run_ids)
        for index, (run_id, known) in enumerate(zip(run_ids, hashes, strict=True)):
            place = places.setdefault((run_id, known or f"part {i}"), {})
            if i in place:
                raise DatasetError(f"{paths[i]}: run_id {run_id} is not unique")
            place[i] = index
    return places


def _cell_name(key: Key, places: Mapping[Key, Mapping[int, int]], paths: Sequence[Path]) -> str:
    """Name a cell, prefixed with its sweep if another cell has the same name."""
    run_id, _ = key
    others = [place for other, place in places.items() if other[0] == run_id]
    if len(others) == 1:
        return run_id
    return f"{_sweep_names(paths)[min(places[key])]}/{run_id}"


def _sweep_names(paths: Sequence[Path]) -> list[str]:
    """Return the shortest paths that differ for all files and folders."""
    full = [path.resolve() for path in paths]
    longest = max(len(path.parts) for path in full)
    for parts in range(1, longest + 1):
        for some in ([path.with_suffix("") for path in full], full):
            names = ["/".join(path.parts[-parts:]) for path in some]
            if len(set(names)) == len(names):
                return names
    return [str(path) for path in paths]


def _filled(part: xr.Dataset, other: xr.Dataset) -> xr.Dataset:
    """Fill missing values of some cells from another part of the same cells."""
    completed = {}
    for name, da in part.data_vars.items():
        mine, theirs = da.variable, other[name].variable.transpose(*da.dims)
        if da.ndim > 1 or da.dtype.kind in "fOUT":
            known = mine.notnull() if da.dtype.kind == "f" else mine != _missing(da.dtype)
            completed[name] = mine.where(known, theirs)  # type: ignore[no-untyped-call]
    return part.assign(completed)


def _attributes(ds: xr.Dataset, sweeps: Sequence[xr.Dataset]) -> dict[str, object]:
    """Return the global attributes of the first sweep, with the origins of all."""
    attributes = dict(sweeps[0].attrs)
    for name, between in (("source", "; "), ("history", "\n")):
        distinct_values = _distinct(sweep.attrs.get(name, "") for sweep in sweeps)
        if distinct_values:
            attributes[name] = between.join(distinct_values)
    if len(_distinct(sweep.attrs.get("title", "") for sweep in sweeps)) > 1 and "model_short" in ds:
        attributes["title"] = title(ds["model_short"].values, ds["method"].values)
    return attributes


def _distinct(texts: Iterable[str]) -> list[str]:
    return [text for text in dict.fromkeys(texts) if text]
