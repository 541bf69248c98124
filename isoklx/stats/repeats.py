"""Cells that are one measurement: greedy decoding makes seeds repeat each other to the byte."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from isoklx import schema
from isoklx.stats.selection import restore_dims

LABELS = ("model", "method", "window")
MEASURED = ("pmass_eval", "kl")
"""The smaller one first: what it tells apart, the larger one need not be read for."""


def repeated_cells(ds: xr.Dataset) -> list[list[str]]:
    """List the cells that repeat each other.

    Cells with identical ``kl`` and ``pmass_eval`` and the same model, method and window are one
    measurement. Identical is every number, where NaN equals NaN and -0.0 equals 0.0. A cell
    without any number in either, as one that was calibrated and not swept, repeats no other.

    Parameters
    ----------
    ds : Dataset
        A sweep or any selection of it; only what is selected is compared. Dask-backed arrays are
        read block by block, and ``kl`` of the cells alone that agree in all else.

    Returns
    -------
    list of list of str
        ``run_id`` of two or more identical cells each, in the order of `ds`.

    Raises
    ------
    DatasetError
        When `ds` is not a sweep.

    Examples
    --------
    >>> import isoklx
    >>> repeated_cells(isoklx.open_sweep("data/sample"))[0]
    ['simulated-1B_pca_s0_w64', 'simulated-1B_pca_s1_w64']
    """
    schema.require(ds, ["run_id"])
    groups: dict[int, list[str]] = {}
    for run_id, first in zip(np.atleast_1d(ds["run_id"].values), _first_alike(ds), strict=True):
        groups.setdefault(first, []).append(str(run_id))
    return [group for group in groups.values() if len(group) > 1]


def distinct(ds: xr.Dataset) -> xr.Dataset:
    """Keep the first cell of each measurement.

    Parameters
    ----------
    ds : Dataset
        As for `repeated_cells`.

    Returns
    -------
    Dataset
        `ds` without the cells that repeat an earlier one; lazy where `ds` is. NaN equals NaN; a
        cell without any number repeats no other, and is kept.

    Raises
    ------
    DatasetError
        When `ds` is not a sweep.

    Examples
    --------
    >>> import isoklx
    >>> ds = isoklx.open_sweep("data/sample")
    >>> ds.sizes["cell"], distinct(ds).sizes["cell"]
    (12, 10)
    """
    first = _first_alike(ds)
    if "cell" not in ds.dims:
        return ds
    return ds.isel(cell=np.flatnonzero(first == np.arange(first.size)))


def count_cells(ds: xr.Dataset) -> tuple[int, int]:
    """Count the cells, and the distinct ones among them.

    Parameters
    ----------
    ds : Dataset
        As for `repeated_cells`.

    Returns
    -------
    n, n_distinct : int
        A cell that was calibrated and not swept repeats no other, and is distinct.

    Raises
    ------
    DatasetError
        When `ds` is not a sweep.

    Examples
    --------
    >>> import isoklx
    >>> count_cells(isoklx.open_sweep("data/sample"))
    (12, 10)
    """
    first = _first_alike(ds)
    return first.size, np.unique(first).size


def count_trajectories(ds: xr.Dataset) -> tuple[int, int]:
    """Count the trajectories, and the distinct ones among them.

    Parameters
    ----------
    ds : Dataset
        As for `repeated_cells`.

    Returns
    -------
    n, n_distinct : int
        Prompts of cells of which a rollout was run (has a ``gen_len``) at any of the alphas.

    Raises
    ------
    DatasetError
        When `ds` is not a sweep.

    Examples
    --------
    >>> import isoklx
    >>> count_trajectories(isoklx.open_sweep("data/sample"))
    (96, 80)
    """
    schema.require(ds, ["gen_len"])
    first = _first_alike(ds)
    ran = restore_dims(ds)["gen_len"].notnull()
    per_cell = ran.any("alpha").sum("prompt").values
    return int(per_cell.sum()), int(per_cell[first == np.arange(first.size)].sum())


def _first_alike(ds: xr.Dataset) -> NDArray[np.intp]:
    """For each cell, the index of the first one with the same content."""
    schema.require(ds, ["run_id", *LABELS, *MEASURED])
    ds = restore_dims(ds)
    keys: list[tuple[object, ...]] = list(zip(*(ds[name].values for name in LABELS), strict=True))
    for name in MEASURED:
        counts = Counter(keys)
        shared = [i for i, key in enumerate(keys) if counts[key] > 1]
        for i, digests in zip(shared, _digests(ds[name], shared), strict=True):
            keys[i] += digests
    # A cell that was told apart without a look at its numbers, or has none, is on its own.
    keys = [key if any(key[len(LABELS) :]) else (i,) for i, key in enumerate(keys)]
    first: dict[tuple[object, ...], int] = {}
    return np.array([first.setdefault(key, i) for i, key in enumerate(keys)], dtype=np.intp)


def _digests(da: xr.DataArray, cells: list[int]) -> list[tuple[bytes, ...]]:
    """Per cell, one digest for each of the blocks that it lies in."""
    da = da.transpose("cell", ...)
    if not cells:
        return []
    if da.chunks is None:
        values = da.values
        return [(_digest(values[i]),) for i in cells]
    blocks = da.isel(cell=cells).data
    digests = blocks.map_blocks(
        _digest_block,
        chunks=(blocks.chunks[0], *((1,) * count for count in blocks.numblocks[1:])),
        dtype=object,
        meta=np.empty((0,) * blocks.ndim, dtype=object),
    )
    return [tuple(row) for row in digests.compute().reshape(len(cells), -1)]


def _digest_block(block: NDArray[np.floating[Any]]) -> NDArray[np.object_]:
    digests = np.empty((len(block), *(1,) * (block.ndim - 1)), dtype=object)
    digests.flat[:] = [_digest(cell) for cell in block]
    return digests


def _digest(values: NDArray[np.floating[Any]]) -> bytes:
    """SHA-256 of the numbers, whatever the bits of their NaN and zeros; empty without a number."""
    missing = np.isnan(values)
    if missing.all():
        return b""
    canonical = np.add(values, 0.0, order="C")  # -0.0 + 0.0 is 0.0
    canonical[missing] = np.nan
    return hashlib.sha256(canonical.tobytes()).digest()
