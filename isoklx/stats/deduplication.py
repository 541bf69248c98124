"""Measurements made twice: greedy decoding makes seeds repeat each other to the byte."""

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
"""Labels in which cells that repeat each other agree, as far as a sweep has them."""

MEASURED = ("pmass_eval", "kl")
"""The smaller one first: what it tells apart, the larger one need not be read for."""


def repeats(ds: xr.Dataset, by: str | Sequence[str] | None = None) -> xr.DataArray:
    """Tell which cell each one repeats, dose by dose.

    Two cells of the same model, method, window, side and temperature repeat each other at a dose
    when their ``kl`` and ``pmass_eval`` are identical there: every number, where NaN equals NaN and
    -0.0 equals 0.0. Other doses have no say in it, so that sweeps may be combined.

    Parameters
    ----------
    ds : Dataset
        A sweep or any selection of it; only what is selected is compared. Dask-backed arrays are
        read block by block, and ``kl`` of the cells alone that agree with another in all else.
    by : str or sequence of str, optional
        Labels of a cell, such as ``"seed"``: only cells that share them are compared.

    Returns
    -------
    DataArray
        Of str along ``cell`` and ``alpha``: ``run_id`` of the first cell of `ds` that is repeated,
        empty where none is, as at doses without a number.

    Raises
    ------
    DatasetError
        When `ds` is not a sweep.
    UsageError
        When `by` names what is no label of a cell.

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
    """Keep each measurement once.

    Parameters
    ----------
    ds : Dataset
        As for `isoklx.repeats`.
    by : str or sequence of str, optional
        As for `isoklx.repeats`.

    Returns
    -------
    Dataset
        `ds` without the cells that repeat earlier ones at all of their doses; lazy where `ds` is. A
        cell that does so at some of them has no numbers there. A cell without any number, as one
        that was calibrated and not swept, repeats no other, and is kept.

    Raises
    ------
    DatasetError
        When `ds` is not a sweep.
    UsageError
        When `by` names what is no label of a cell.

    Examples
    --------
    >>> import isoklx
    >>> ds = isoklx.open_sweep("data/sample")
    >>> ds.sizes["cell"], distinct(ds).sizes["cell"]
    (12, 10)
    """
    return compare(ds, by).without(ds)


def first_of_repeats(ds: xr.Dataset, by: str | Sequence[str] | None = None) -> xr.DataArray:
    """Mark the doses at which each cell repeats no earlier one; as `codes_of_repeats`.

    Examples
    --------
    >>> import isoklx
    >>> first = first_of_repeats(isoklx.open_sweep("data/sample"))
    >>> first.sum("cell").values
    array([10, 10, 10, 10, 10, 10])
    """
    code = codes_of_repeats(ds, by)
    return code == xr.DataArray(np.arange(ds.sizes["cell"]), dims="cell")


def codes_of_repeats(ds: xr.Dataset, by: str | Sequence[str] | None = None) -> xr.DataArray:
    """Number the cells at each dose: cells that repeat each other there share a number.

    A number is the index of the first cell of its kind. Along ``cell`` and ``alpha``; lazy where
    ``kl`` or ``pmass_eval`` is.

    Examples
    --------
    >>> import isoklx
    >>> codes_of_repeats(isoklx.open_sweep("data/sample")).sel(alpha=1).values[:6].tolist()
    [0, 1, 2, 3, 4, 4]
    """
    measured = _required(ds)
    look_up = partial(_first, ds, check_labels(by, ds))
    if any(ds[name].chunks for name in measured):
        # The comparison reads no more than it must, which only it can know as it goes: as an
        # argument, dask would read all of the sweep for it.
        shape = ds.sizes["cell"], ds.sizes["alpha"]
        first = dask.array.from_delayed(  # type: ignore[no-untyped-call]
            delayed(look_up)(), shape, dtype=np.intp
        )
    else:
        first = look_up()
    return xr.DataArray(first, dims=("cell", "alpha"))


def count_cells(ds: xr.Dataset) -> tuple[int, int]:
    """Count the cells, and the distinct ones among them.

    Parameters
    ----------
    ds : Dataset
        As for `repeats`.

    Returns
    -------
    n, n_distinct : int
        Distinct is a cell that is not a repeat at all of its doses, as is one without a number.

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
    redundant = compare(ds).redundant
    return redundant.size, int((~redundant).sum())


def count_trajectories(ds: xr.Dataset, by: str | Sequence[str] | None = None) -> xr.Dataset:
    """Count the trajectories of each dose, and the distinct ones among them.

    Parameters
    ----------
    ds, by
        As for `repeats`.

    Returns
    -------
    Dataset
        ``n`` and ``n_distinct``, int64 along ``alpha``: prompts of cells of which a rollout was run
        (has a ``gen_len``), and those of cells that repeat no other at the dose.

    Raises
    ------
    DatasetError
        When `ds` is not a sweep.
    UsageError
        When `by` names what is no label of a cell.

    Examples
    --------
    >>> import isoklx
    >>> counts = count_trajectories(isoklx.open_sweep("data/sample")).sel(alpha=1.0)
    >>> counts.n.item(), counts.n_distinct.item()
    (96, 80)
    """
    return compare(ds, by).count(ds)


@dataclass(frozen=True, eq=False)
class Repeats:
    """What repeats what, as `compare` finds it; arrays of shape (cell, alpha) unless said."""

    run_ids: NDArray[np.str_]
    """Of shape (cell,)."""
    alphas: NDArray[np.float64]
    """Of shape (alpha,)."""
    first: NDArray[np.intp]
    """Index of the first cell with the same numbers; its own where there are none."""
    numbers: NDArray[np.bool_]
    """Whether there are any; only told of cells that repeat another somewhere."""

    @property
    def repeated(self) -> NDArray[np.bool_]:
        """Where a cell repeats an earlier one."""
        return np.asarray(self.first != np.arange(len(self.first))[:, np.newaxis])

    @property
    def redundant(self) -> NDArray[np.bool_]:
        """Cells, of shape (cell,), that repeat earlier ones wherever they have numbers."""
        new = self.numbers & ~self.repeated
        return np.asarray(self.repeated.any(axis=1) & ~new.any(axis=1))

    @property
    def groups(self) -> dict[tuple[str, ...], list[float]]:
        """Two or more cells, by ``run_id`` and in order, and where just these are alike."""
        groups: dict[tuple[str, ...], list[float]] = {}
        for alpha, first, repeated in zip(self.alphas, self.first.T, self.repeated.T, strict=True):
            for index in np.unique(first[repeated]):
                alike = tuple(map(str, self.run_ids[first == index]))
                groups.setdefault(alike, []).append(float(alpha))
        return groups

    def without(self, ds: xr.Dataset) -> xr.Dataset:
        """The sweep that was compared, each measurement once."""
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
        """Trajectories of each dose of the sweep that was compared: ``n``, ``n_distinct``."""
        schema.require(ds, ["gen_len"])
        ran = restore_dims(ds)["gen_len"].notnull().sum("prompt").transpose("cell", "alpha").values
        counts = {"n": ran.sum(axis=0), "n_distinct": (ran * ~self.repeated).sum(axis=0)}
        return xr.Dataset(
            {name: ("alpha", count.astype(np.int64)) for name, count in counts.items()},
            {"alpha": self.alphas},
        )


def compare(ds: xr.Dataset, by: str | Sequence[str] | None = None) -> Repeats:
    """Compare the cells of a sweep, dose by dose.

    Parameters
    ----------
    ds, by
        As for `repeats`.

    Returns
    -------
    Repeats

    Raises
    ------
    DatasetError
        When `ds` is not a sweep.
    UsageError
        When `by` names what is no label of a cell.

    Examples
    --------
    >>> import isoklx
    >>> compare(isoklx.open_sweep("data/sample")).redundant.sum()
    np.int64(2)
    """
    measured = _required(ds)
    ds = restore_dims(ds)
    labels = [*(name for name in APART if name in ds.coords), *check_labels(by, ds)]
    columns = [codes_of(name, ds[name].values)[1].tolist() for name in dict.fromkeys(labels)]
    shape = ds.sizes["cell"], ds.sizes["alpha"]
    # Contents that differ at a dose have different numbers there, more so with each look.
    label = _numbered(zip(*columns, strict=True))
    content = np.tile(label[:, np.newaxis], shape[1])
    numbers = np.zeros(shape, dtype=bool)
    for name in measured:
        shared = _shared(content)
        cells = np.flatnonzero(shared.any(axis=1))
        # Where a cell repeats another somewhere, it has to be known where it has numbers.
        alphas = np.flatnonzero((shared | ~numbers)[cells].any(axis=0))
        digests = np.full(shape, None)
        digests[np.ix_(cells, alphas)] = _digests(ds[name], cells, alphas)
        numbers |= np.frompyfunc(_has_numbers, 1, 1)(digests).astype(bool)
        pairs = zip(content.ravel().tolist(), digests.ravel(), strict=True)
        content = _numbered(pairs).reshape(shape)
    first = np.tile(np.arange(shape[0])[:, np.newaxis], shape[1])
    for alpha, codes in enumerate(content.T):
        _, index, inverse = np.unique(codes, return_index=True, return_inverse=True)
        first[:, alpha] = np.where(numbers[:, alpha], index[inverse], first[:, alpha])
    return Repeats(ds["run_id"].values.astype(str), ds["alpha"].values, first, numbers)


def _required(ds: xr.Dataset) -> list[str]:
    """What is compared: KL, and pmass where it is there."""
    there = schema.variables_of(ds)
    measured = [name for name in MEASURED if name in there or name == "kl"]
    schema.require(ds, ["run_id", "alpha", *LABELS, *measured])
    return measured


def _first(ds: xr.Dataset, by: Sequence[str]) -> NDArray[np.intp]:
    return compare(ds, by).first


def _masked(da: xr.DataArray, where: xr.DataArray) -> xr.DataArray:
    """Missing elsewhere, as a sweep has it."""
    missing = "" if da.dtype.kind in "OUT" else np.nan
    return da.where(where, missing).transpose(*da.dims).astype(da.dtype)


def _numbered(keys: Iterable[Hashable]) -> NDArray[np.intp]:
    """A number for each key, the same for those that are equal."""
    seen: dict[Hashable, int] = {}
    return np.array([seen.setdefault(key, len(seen)) for key in keys], dtype=np.intp)


def _shared(content: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Where another cell has the same content at the same dose."""
    shared = np.empty(content.shape, dtype=bool)
    for alpha, codes in enumerate(content.T):
        _, inverse, counts = np.unique(codes, return_inverse=True, return_counts=True)
        shared[:, alpha] = counts[inverse] > 1
    return shared


def _digests(
    da: xr.DataArray, cells: NDArray[np.intp], alphas: NDArray[np.intp]
) -> NDArray[np.object_]:
    """Per cell and dose, one digest for each of the blocks that it lies in."""
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
    """SHA-256 of each cell's numbers at each dose, whatever the bits of their NaN and zeros.

    Empty without a number.
    """
    missing = np.isnan(block)
    some = ~missing.all(axis=tuple(range(2, block.ndim)))
    canonical = np.add(block, 0.0, order="C")  # -0.0 + 0.0 is 0.0
    canonical[missing] = np.nan
    digests = np.full((*block.shape[:2], *(1,) * (block.ndim - 2)), b"", dtype=object)
    for place in zip(*np.nonzero(some), strict=True):
        digests[place] = hashlib.sha256(canonical[place].data).digest()
    return digests
