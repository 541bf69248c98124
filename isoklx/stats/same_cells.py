"""Which cell of one sweep is which of another."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import xarray as xr

from isoklx import schema
from isoklx.errors import UsageError
from isoklx.stats.groups import as_keys

KEY = ("model_short", "method", "seed", "window")
"""What makes cells of two sweeps the same."""

TOLD_APART_BY = (*schema.SPLIT, "layer", "model")
FURTHER = (
    *(
        tuple(name for i, name in enumerate(TOLD_APART_BY) if chosen >> i & 1)
        for chosen in range(2 ** len(TOLD_APART_BY))
    ),
    ("run_id",),
)
"""What tells cells apart that share all of `KEY` within a sweep: the first of these that does."""

MOST = 8
"""Cells, or labels, that an error lists."""


class SameCells(NamedTuple):
    """Places along ``cell``: of those in both sweeps, in A and in B; of the others."""

    pairs: list[tuple[int, int]]
    only_a: list[int]
    only_b: list[int]


def same_cells(a: xr.Dataset, b: xr.Dataset) -> SameCells:
    """Find the cells that two sweeps have in common.

    Cells are the same that have the same short name of the model, method, seed and window. Where a
    sweep has several such, they are told apart by the side of the direction, by temperature, by
    layer, by the model's full name or by several of these: by the first that gives each a name of
    its own in both sweeps; else by ``run_id``.

    Parameters
    ----------
    a, b : Dataset
        Sweeps, with dimension ``cell``.

    Returns
    -------
    SameCells
        In the order of `a`, then of `b`.

    Raises
    ------
    DatasetError
        When one is not a sweep.
    UsageError
        When there is none; the message says what each of them has.

    Examples
    --------
    >>> import isoklx
    >>> ds = isoklx.open_sweep("data/sample")
    >>> same_cells(isoklx.select(ds, seed=0), isoklx.select(ds, seed=[0, 1], method="pca"))
    SameCells(pairs=[(2, 0), (5, 2)], only_a=[0, 1, 3, 4], only_b=[1, 3])
    """
    labels = [_labels(ds) for ds in (a, b)]
    for name, cells in zip("AB", labels, strict=True):
        if not cells:
            raise UsageError(f"{name} has no cells: there is nothing to compare")
    keys: list[list[Hashable]] = [[_key(cell, KEY) for cell in cells] for cells in labels]
    for key in set(keys[0]) | set(keys[1]):
        places = [[i for i, each in enumerate(of) if each == key] for of in keys]
        further = next(names for names in FURTHER if _told_apart(labels, places, names))
        for of, cells, found in zip(keys, labels, places, strict=True):
            for i in found:
                of[i] = (key, _key(cells[i], further))
    place_in_b = {key: j for j, key in enumerate(keys[1])}
    pairs = [(i, place_in_b[key]) for i, key in enumerate(keys[0]) if key in place_in_b]
    if not pairs:
        raise UsageError(f"no cell is in both A and B: {_apart(*labels)}")
    in_a, in_b = ({pair[side] for pair in pairs} for side in (0, 1))
    return SameCells(
        pairs,
        [i for i in range(len(labels[0])) if i not in in_a],
        [j for j in range(len(labels[1])) if j not in in_b],
    )


def _labels(ds: xr.Dataset) -> list[dict[str, Any]]:
    names = [*KEY, *TOLD_APART_BY, "run_id"]
    schema.require(ds, ["c_star", *(name for name in names if name not in schema.SPLIT)])
    columns = {
        name: as_keys(ds[name].values)
        if name in ds.coords
        else [schema.COORDINATES[name].absent] * ds.sizes["cell"]
        for name in names
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _key(cell: dict[str, Any], names: Sequence[str]) -> tuple[Any, ...]:
    return tuple(cell[name] for name in names)


def _told_apart(
    labels: list[list[dict[str, Any]]], places: list[list[int]], names: Sequence[str]
) -> bool:
    """Whether labels give each of some cells of either sweep a name of its own within it."""
    for cells, found in zip(labels, places, strict=True):
        if len({_key(cells[i], names) for i in found}) < len(found):
            return False
    return True


def _apart(a: list[dict[str, Any]], b: list[dict[str, Any]]) -> str:
    """What two sweeps have that the other has not: a label, or else whole cells."""
    apart = []
    for name in KEY:
        in_a, in_b = ({cell[name] for cell in cells} for cells in (a, b))
        if not in_a & in_b:
            apart.append(f"{name} is {_listed(in_a)} in A and {_listed(in_b)} in B")
    if apart:
        return "; ".join(apart)
    cells = [_listed({" ".join(map(str, _key(cell, KEY))) for cell in of}) for of in (a, b)]
    return f"{', '.join(KEY)} are {cells[0]} in A and {cells[1]} in B"


def _listed(labels: set[Any]) -> str:
    texts = [str(each) for each in sorted(labels)]
    more = f" and {len(texts) - MOST} more" if len(texts) > MOST else ""
    return ", ".join(texts[:MOST]) + more
