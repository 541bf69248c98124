"""Duplicate measurements: greedy decoding makes seeds repeat each other to the byte."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import dask.array
import numpy as np
import xarray as xr
from dask.delayed import delayed
from numpy.typing import NDArray

from isoklx import schema
from isoklx.stats.groups import check_labels, codes_of
from isoklx.stats.selection import restore_dims

LABELS = ("model", "method", "window")
APART = (*LABELS, *schema.SPLIT)
"""Labels that duplicates share, as far as a sweep has them."""

MEASURED = ("pmass_eval", "kl")
"""Variables that are compared, the smaller one first: KL is read only where pmass is equal."""


def repeats(ds: xr.Dataset, by: str | Sequence[str] | None = None) -> xr.DataArray:
    """Find the duplicates among the cells at each dose.

    Two cells of the same model, method, window, side and temperature are duplicates at a dose when
    all their ``kl`` and ``pmass_eval`` are identical there, with NaN equal to NaN and -0.0 equal to
    0.0. Each dose is compared independently of the others, so that sweeps can be combined.

    Parameters
    ----------
    ds : Dataset
        A sweep or any selection of it; only the selection is compared. Dask-backed arrays are read
        block by block, and ``kl`` only for cells that equal another one in everything else.
    by : str or sequence of str, optional
        Labels of a cell, such as ``"seed"``: only cells with equal labels are compared.

    Returns
    -------
    DataArray
        Strings along ``cell`` and ``alpha``: ``run_id`` of the first cell of `ds` with the same
        values; empty if the cell is not a duplicate of an earlier one, or has only NaN.

    Raises
    ------
    DatasetError
        When `ds` is not a sweep.
    UsageError
        When `by` contains a name that is not a label of a cell.

    Examples
    --------
    >>> import isoklx
    >>> ds = isoklx.open_sweep("data/sample")
    >>> repeats(ds).sel(run_id="simulated-1B_pca_s1_w64", alpha=1.0).item()
    'simulated-1B_pca_s0_w64'
    """
    found = compare(ds, by)
    names = np.where(found.repeated, found.run_ids[found.first], "")
    labels = {"run_id": ("cell", found.run_ids), "alpha": found.alphas}
    named = xr.DataArray(names, labels, ("cell", "alpha"), name="repeats")
    return named.set_xindex("run_id")


def distinct(ds: xr.Dataset, by: str | Sequence[str] | None = None) -> xr.Dataset:
    """Remove duplicate measurements.

    Parameters
    ----------
    ds : Dataset
        As for `isoklx.repeats`.
    by : str or sequence of str, optional
        As for `isoklx.repeats`.

    Returns
    -------
    Dataset
        `ds` without the cells that are duplicates of earlier ones at all of their doses; lazy where
        `ds` is. A cell that is a duplicate at some doses only is NaN there. A cell without values,
        such as one that was calibrated but not swept, is kept.

    Raises
    ------
    DatasetError
        When `ds` is not a sweep.
    UsageError
        When `by` contains a name that is not a label of a cell.

    Examples
    --------
    >>> import isoklx
    >>> ds = isoklx.open_sweep("data/sample")
    >>> ds.sizes["cell"], distinct(ds).sizes["cell"]
    (12, 10)
    """
    return compare(ds, by).without(ds)


def first_of_repeats(ds: xr.Dataset, by: str | Sequence[str] | None = None) -> xr.DataArray:
    """Mark the doses at which each cell is not a duplicate of an earlier one."""
    code = codes_of_repeats(ds, by)
    return code == xr.DataArray(np.arange(ds.sizes["cell"]), dims="cell")


def codes_of_repeats(ds: xr.Dataset, by: str | Sequence[str] | None = None) -> xr.DataArray:
    """Map each cell and dose to the index of the first cell with the same values there."""
    measured = _compared_variables(ds)
    look_up = partial(_first, ds, check_labels(by, ds))
    if any(ds[name].chunks for name in measured):
        # The comparison decides as it goes which arrays it reads. Passed as an argument, the whole
        # sweep would be read by dask.
        shape = ds.sizes["cell"], ds.sizes["alpha"]
        first = dask.array.from_delayed(  # type: ignore[no-untyped-call]
            delayed(look_up)(), shape, dtype=np.intp
        )
    else:
        first = look_up()
    return xr.DataArray(first, dims=("cell", "alpha"))


def count_cells(ds: xr.Dataset) -> tuple[int, int]:
    """Count the cells, and the distinct ones (not duplicates at all of their doses)."""
    redundant = compare(ds).redundant
    return redundant.size, int((~redundant).sum())


def count_trajectories(ds: xr.Dataset, by: str | Sequence[str] | None = None) -> xr.Dataset:
    """Count rollouts that were run (``n``) and those of distinct cells (``n_distinct``) by dose."""
    return compare(ds, by).count(ds)


@dataclass(frozen=True, eq=False)
class Repeats:
    """Duplicates found by `compare`; arrays are of shape (cell, alpha) unless noted."""

    run_ids: NDArray[np.str_]
    """Shape (cell,)."""
    alphas: NDArray[np.float64]
    """Shape (alpha,)."""
    first: NDArray[np.intp]
    """Index of the first cell with the same values; the cell's own index if it has only NaN."""
    numbers: NDArray[np.bool_]
    """True where a cell has values; valid only for cells that are duplicates at some dose."""

    @property
    def repeated(self) -> NDArray[np.bool_]:
        """True where a cell is a duplicate of an earlier one."""
        return np.asarray(self.first != np.arange(len(self.first))[:, np.newaxis])

    @property
    def redundant(self) -> NDArray[np.bool_]:
        """True (cell,) for cells that are duplicates wherever they have values."""
        new = self.numbers & ~self.repeated
        return np.asarray(self.repeated.any(axis=1) & ~new.any(axis=1))

    @property
    def groups(self) -> dict[tuple[str, ...], list[float]]:
        """Sets of two or more duplicates, as ordered ``run_id``, and the doses of each set."""
        groups: dict[tuple[str, ...], list[float]] = {}
        for alpha, first, repeated in zip(self.alphas, self.first.T, self.repeated.T, strict=True):
            for index in np.unique(first[repeated]):
                alike = tuple(map(str, self.run_ids[first == index]))
                groups.setdefault(alike, []).append(float(alpha))
        return groups

    def without(self, ds: xr.Dataset) -> xr.Dataset:
        """Remove the duplicates from the sweep that was compared."""
        if "cell" not in ds.dims:
            return ds
        kept = ~self.redundant
        ds = ds.isel(cell=np.flatnonzero(kept))
        again = self.repeated[kept]
        if not again.any():
            return ds
        once = xr.DataArray(~again, dims=("cell", "alpha"))
        return ds.assign(
            {
                name: _masked(da, once)
                for name, da in ds.data_vars.items()
                if {"cell", "alpha"} <= set(da.dims) and da.dtype.kind in "fOUT"
            }
        )

    def count(self, ds: xr.Dataset) -> xr.Dataset:
        """Count the trajectories of the sweep that was compared by dose: ``n``, ``n_distinct``."""
        schema.require(ds, ["gen_len"])
        ran = restore_dims(ds)["gen_len"].notnull().sum("prompt").transpose("cell", "alpha").values
        counts = {"n": ran.sum(axis=0), "n_distinct": (ran * ~self.repeated).sum(axis=0)}
        return xr.Dataset(
            {name: ("alpha", count.astype(np.int64)) for name, count in counts.items()},
            {"alpha": self.alphas},
        )


def compare(ds: xr.Dataset, by: str | Sequence[str] | None = None) -> Repeats:
    """Find the duplicates among the cells of a sweep, by dose."""
    measured = _compared_variables(ds)
    ds = restore_dims(ds)
    labels = [*(name for name in APART if name in ds.coords), *check_labels(by, ds)]
    columns = [codes_of(name, ds[name].values)[1].tolist() for name in dict.fromkeys(labels)]
    shape = ds.sizes["cell"], ds.sizes["alpha"]
    # `content` numbers the different contents at each dose; each variable refines it.
    label = _codes(zip(*columns, strict=True))
    content = np.tile(label[:, np.newaxis], shape[1])
    numbers = np.zeros(shape, dtype=bool)
    for name in measured:
        shared = _has_duplicate(content)
        cells = np.flatnonzero(shared.any(axis=1))
        # `Repeats.numbers` is needed at all doses of a cell that is a duplicate at one of them.
        alphas = np.flatnonzero((shared | ~numbers)[cells].any(axis=0))
        digests = np.full(shape, None)
        digests[np.ix_(cells, alphas)] = _digests(ds[name], cells, alphas)
        numbers |= np.frompyfunc(_has_numbers, 1, 1)(digests).astype(bool)
        pairs = zip(content.ravel().tolist(), digests.ravel(), strict=True)
        content = _codes(pairs).reshape(shape)
    first = np.tile(np.arange(shape[0])[:, np.newaxis], shape[1])
    for alpha, codes in enumerate(content.T):
        _, index, inverse = np.unique(codes, return_index=True, return_inverse=True)
        first[:, alpha] = np.where(numbers[:, alpha], index[inverse], first[:, alpha])
    return Repeats(ds["run_id"].values.astype(str), ds["alpha"].values, first, numbers)


def _compared_variables(ds: xr.Dataset) -> list[str]:
    """Return the variables to compare: KL, and pmass_eval if the sweep has it."""
    there = schema.variables_of(ds)
    measured = [name for name in MEASURED if name in there or name == "kl"]
    schema.require(ds, ["run_id", "alpha", *LABELS, *measured])
    return measured


def _first(ds: xr.Dataset, by: Sequence[str]) -> NDArray[np.intp]:
    return compare(ds, by).first


def _masked(da: xr.DataArray, where: xr.DataArray) -> xr.DataArray:
    """Set values to missing outside ``where``."""
    missing = "" if da.dtype.kind in "OUT" else np.nan
    return da.where(where, missing).transpose(*da.dims).astype(da.dtype)


def _codes(keys: Iterable[Hashable]) -> NDArray[np.intp]:
    """Return an integer code for each key, in order of first occurrence."""
    seen: dict[Hashable, int] = {}
    return np.array([seen.setdefault(key, len(seen)) for key in keys], dtype=np.intp)


def _has_duplicate(content: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Mark cells that have the content of another cell at the same dose."""
    shared = np.empty(content.shape, dtype=bool)
    for alpha, codes in enumerate(content.T):
        _, inverse, counts = np.unique(codes, return_inverse=True, return_counts=True)
        shared[:, alpha] = counts[inverse] > 1
    return shared


def _digests(
    da: xr.DataArray, cells: NDArray[np.intp], alphas: NDArray[np.intp]
) -> NDArray[np.object_]:
    """Return a tuple of digests per cell and dose, one per block."""
    da = da.transpose("cell", "alpha", ...)
    digests = np.empty((cells.size, alphas.size), dtype=object)
    if not digests.size:
        return digests
    if da.chunks is None:
        values = da.values
        for i, cell in enumerate(cells):
            of_cell = _digest_block(values[cell : cell + 1, alphas])
            for j, digest in enumerate(of_cell.flat):
                digests[i, j] = (digest,)
        return digests
    blocks = da.isel(cell=cells, alpha=alphas).data
    found = blocks.map_blocks(
        _digest_block,
        chunks=(*blocks.chunks[:2], *((1,) * count for count in blocks.numblocks[2:])),
        dtype=object,
        meta=np.empty((0,) * blocks.ndim, dtype=object),
    )
    for place, row in zip(
        np.ndindex(digests.shape), found.compute().reshape(digests.size, -1), strict=True
    ):
        digests[place] = tuple(row)
    return digests


def _has_numbers(digests: tuple[bytes, ...] | None) -> bool:
    return digests is not None and any(digests)


def _digest_block(block: NDArray[np.floating[Any]]) -> NDArray[np.object_]:
    """SHA-256 of each cell's values at each dose; empty if all are NaN."""
    # Equal values have equal digests whatever the bits of their NaN and zeros.
    missing = np.isnan(block)
    some = ~missing.all(axis=tuple(range(2, block.ndim)))
    canonical = np.add(block, 0.0, order="C")  # -0.0 + 0.0 is 0.0
    canonical[missing] = np.nan
    digests = np.full((*block.shape[:2], *(1,) * (block.ndim - 2)), b"", dtype=object)
    for place in zip(*np.nonzero(some), strict=True):
        digests[place] = hashlib.sha256(canonical[place].data).digest()
    return digests
