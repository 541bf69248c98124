"""Which cell of one sweep is which of another."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from isoklx import schema
from isoklx.cells.parsing import positions, union
from isoklx.errors import UsageError
from isoklx.stats import deduplication
from isoklx.stats.contrasts import cell_contrasts
from isoklx.stats.endpoint import METRICS, Ended, cells_with
from isoklx.stats.groups import as_keys
from isoklx.stats.selection import restore_dims, with_absent
from isoklx.stats.survival import survival_summary

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


NUMBERS = ("kl", "pmass_eval")
"""Results that a cell has at every dose that was run."""

ANSWERS = ("pmass", "p_true")
"""Results of questions, which may be left out."""

LABELS = ("run_id", "model", "method", "window")
LENGTHS = ("gen_len", "gen_len_qa")
NEEDED = ("alpha", *LABELS, *LENGTHS, "has_kl", "has_pmass")
OPTIONAL = ("unpaired",)

CONTRAST = ("n_prompts", "end_difference", "end_lower", "end_upper", "p_value")


def comparable(a: xr.Dataset, b: xr.Dataset) -> tuple[xr.Dataset, xr.Dataset]:
    """Give two sweeps all dimensions, all that is measured, and one name for each dose.

    Raises
    ------
    DatasetError
        When one is not a sweep.
    """
    whole = []
    for ds in (a, b):
        schema.require(ds, NEEDED)
        whole.append(with_absent(restore_dims(ds), METRICS))
    labels = union(np.concatenate([ds["alpha"].values for ds in whole]))
    one, other = (
        ds.assign_coords(alpha=labels[positions(labels, ds["alpha"].values)]) for ds in whole
    )
    return one, other


def one_after_another(
    a: xr.Dataset, of_a: list[int], b: xr.Dataset, of_b: list[int], names: Sequence[str]
) -> xr.Dataset:
    """Put cells of two sweeps into one Dataset, those of `a` first.

    Parameters
    ----------
    a, b : Dataset
        As `comparable` gives them.
    of_a, of_b : list of int
        Places of the cells along ``cell``.
    names : sequence of str
        Variables to put there, of those that both or one of them have.

    Returns
    -------
    Dataset
        Labels align what they have; lazy where they are. ``run_id`` is no index, for it may be
        there twice.
    """
    parts = []
    for ds, cells in ((a, of_a), (b, of_b)):
        part = ds.drop_indexes("run_id", errors="ignore")[[name for name in names if name in ds]]
        coords = [name for name in part.coords if name not in {*schema.DIMS, *LABELS}]
        parts.append(part.drop_vars(coords).isel(cell=cells))
    both: xr.Dataset = xr.concat(
        parts,
        "cell",
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="outer",
        combine_attrs="override",
        fill_value={"unpaired": 0},
    )
    return both


def repeated_doses(
    a: xr.Dataset, b: xr.Dataset, pairs: Sequence[tuple[int, int]]
) -> list[set[float]]:
    """Tell at which doses a pair repeats an earlier one, in both sweeps.

    Parameters
    ----------
    a, b : Dataset
        As `comparable` gives them.
    pairs : sequence of (int, int)
        Places of the same cells.

    Returns
    -------
    list of set of float
        For each pair the doses at which the cell of `a` repeats that of an earlier pair, as
        `isoklx.repeats` says, and the cell of `b` that of the same pair.
    """
    found: list[set[float]] = [set() for _ in pairs]
    first = [
        dict(zip(each.alphas.tolist(), each.first.T, strict=True))
        for each in (deduplication.compare(ds) for ds in (a, b))
    ]
    for alpha in first[0].keys() & first[1].keys():
        seen = set()
        for (i, j), repeated in zip(pairs, found, strict=True):
            same = (int(first[0][alpha][i]), int(first[1][alpha][j]))
            if same in seen:
                repeated.add(alpha)
            seen.add(same)
    return found


class Difference(NamedTuple):
    """The largest difference between two measurements of a cell.

    Parameters
    ----------
    quantity : str
        The variable: ``kl``, ``pmass_eval``, ``pmass`` or ``p_true``.
    size : float
        Absolute; infinite where every difference is of a number and none.
    place : str
        Dose, prompt and token (or question and fork), and the value in each sweep.
    """

    quantity: str
    size: float
    place: str


def same_numbers(a: xr.Dataset, i: int, b: xr.Dataset, j: int) -> bool | None:
    """Return whether KL, pmass and p_true are identical wherever both were measured.

    Parameters
    ----------
    a, b : Dataset
        As `comparable` gives them.
    i, j : int
        Places of the cell along ``cell``.

    Returns
    -------
    bool or None
        Every number of the prompts at every dose at which both have numbers, and of the questions
        where both were asked; NaN is the same as NaN. None where there is no such dose.
    """
    doses = False
    for _, values in _side_by_side(a, i, b, j):
        one, other = values.values
        if not ((one == other) | (np.isnan(one) & np.isnan(other))).all():
            return False
        doses = doses or bool(values.sizes["alpha"])
    return True if doses else None


def largest_difference(a: xr.Dataset, i: int, b: xr.Dataset, j: int) -> Difference | None:
    """Find where two measurements of a cell differ most.

    Parameters
    ----------
    a, b, i, j
        As for `same_numbers`.

    Returns
    -------
    Difference or None
        Of the numbers that both have, else of those that one lacks; None where all are the same.
    """
    found: Difference | None = None
    for name, values in _side_by_side(a, i, b, j):
        one, other = values.values.astype(np.float64)
        apart = np.abs(one - other)
        apart[(one == other) | (np.isnan(one) & np.isnan(other))] = 0.0
        if not apart.any():  # NaN, where one of them has none, is not 0
            continue
        known = np.where(np.isnan(apart), 0.0, apart)
        at = np.unravel_index(np.argmax(known if known.any() else np.isnan(apart)), apart.shape)
        size = float(known[at]) or np.inf
        if found is None or (size < np.inf, size) > (found.size < np.inf, found.size):
            found = Difference(name, size, _place(values, at, one[at], other[at]))
    return found


def _side_by_side(
    a: xr.Dataset, i: int, b: xr.Dataset, j: int
) -> Iterator[tuple[str, xr.DataArray]]:
    """Each quantity (cell, alpha, ...) of both, at the doses at which they are compared."""
    names = [name for name in (*NUMBERS, *ANSWERS) if name in a and name in b]
    pair = one_after_another(a, [i], b, [j], names)[names].transpose("cell", "alpha", ...)
    there = {name: _measured(pair[name]) for name in names}
    run = np.logical_or.reduce([there[name] for name in NUMBERS])
    for name in names:
        yield name, pair[name].isel(alpha=np.flatnonzero(run if name in NUMBERS else there[name]))


def _measured(values: xr.DataArray) -> npt.NDArray[np.bool_]:
    """Return the doses at which both cells have a number."""
    numbers: npt.NDArray[np.bool_] = values.notnull().any(values.dims[2:]).all("cell").values
    return numbers


def _place(values: xr.DataArray, at: tuple[Any, ...], one: float, other: float) -> str:
    dims = zip(values.dims[1:], at, strict=True)
    place = ", ".join(f"{dim} {values[dim].values[k]:g}" for dim, k in dims)
    in_a, in_b = ("none" if np.isnan(each) else f"{each:.6g}" for each in (one, other))
    return f"{place}: {in_a} in A, {in_b} in B"


def end_survival(
    ds: xr.Dataset, metric: str, thresholds: Sequence[float], ended: Ended
) -> dict[tuple[str, float, float], float]:
    """Survival of each cell at the end of its window, by ``run_id``, threshold and dose.

    Parameters
    ----------
    ds : Dataset
        As `comparable` gives it.
    metric, thresholds, ended
        As for `isoklx.survival`.

    Returns
    -------
    dict
        Without what was not measured, and without curves that end before the window.
    """
    if not cells_with(ds, metric).any():
        return {}
    table = survival_summary(ds, metric, thresholds, "run_id", ended=ended)
    table = table[table["observed_to"] == table["horizon"]]
    keys = zip(table["run_id"], table["threshold"], table["alpha"], strict=True)
    return dict(zip(keys, table["end_survival"].tolist(), strict=True))


def contrasts(
    a: xr.Dataset,
    b: xr.Dataset,
    pairs: Sequence[tuple[int, int]],
    metric: str,
    thresholds: Sequence[float],
    ended: Ended,
) -> list[dict[tuple[float, float], dict[str, object]]]:
    """How survival differs, B minus A, of each pair by threshold and dose.

    Parameters
    ----------
    a, b : Dataset
        As `comparable` gives them.
    pairs : sequence of (int, int)
        Places of the same cells, in which prompts of the same index are the same.
    metric, thresholds, ended
        As for `isoklx.survival`.

    Returns
    -------
    list of dict
        `CONTRAST` of `isoklx.survival_contrast`, at the doses that both have the metric at.
    """
    of_a, of_b = ([pair[side] for pair in pairs] for side in (0, 1))
    # Of KL only its own deaths are read; it is large.
    names = [name for name in (*METRICS, *NEEDED, *OPTIONAL) if name != "kl" or metric == "kl"]
    both = one_after_another(a, of_a, b, of_b, names)
    if not cells_with(both, metric).any():
        return [{} for _ in pairs]
    at = [(len(pairs) + place, place) for place in range(len(pairs))]
    return [
        {key: {name: row[name] for name in CONTRAST} for key, row in rows.items()}
        for rows in cell_contrasts(both, at, metric, thresholds, ended)
    ]
