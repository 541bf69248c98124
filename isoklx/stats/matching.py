"""Matching of the cells of two sweeps, and comparison of their values."""

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
"""Labels that the same cell has in two sweeps."""

FURTHER_LABELS = (*schema.SPLIT, "layer", "model")
FURTHER = (
    *(
        tuple(name for i, name in enumerate(FURTHER_LABELS) if chosen >> i & 1)
        for chosen in range(2 ** len(FURTHER_LABELS))
    ),
    ("run_id",),
)
"""Labels that are tried in this order to distinguish cells that share all of `KEY`."""

MOST = 8
"""Maximum number of cells, or labels, that an error lists."""


class SameCells(NamedTuple):
    """Indices along ``cell`` of the cells in both sweeps (A, B), in A only and in B only."""

    pairs: list[tuple[int, int]]
    only_a: list[int]
    only_b: list[int]


def same_cells(a: xr.Dataset, b: xr.Dataset) -> SameCells:
    """Find the cells that two sweeps have in common, or raise UsageError if there are none."""
    # Cells that share `KEY` are matched by the first of `FURTHER` that names each of them uniquely
    # in both sweeps.
    labels = [_labels(ds) for ds in (a, b)]
    for name, cells in zip("AB", labels, strict=True):
        if not cells:
            raise UsageError(f"{name} has no cells to compare")
    keys: list[list[Hashable]] = [[_values_of(cell, KEY) for cell in cells] for cells in labels]
    for key in set(keys[0]) | set(keys[1]):
        places = [[i for i, each in enumerate(of) if each == key] for of in keys]
        further = next(names for names in FURTHER if _are_unique(labels, places, names))
        for of, cells, found in zip(keys, labels, places, strict=True):
            for i in found:
                of[i] = (key, _values_of(cells[i], further))
    place_in_b = {key: j for j, key in enumerate(keys[1])}
    pairs = [(i, place_in_b[key]) for i, key in enumerate(keys[0]) if key in place_in_b]
    if not pairs:
        raise UsageError(f"no cell is in both A and B: {_mismatch(*labels)}")
    in_a, in_b = ({pair[side] for pair in pairs} for side in (0, 1))
    return SameCells(
        pairs,
        [i for i in range(len(labels[0])) if i not in in_a],
        [j for j in range(len(labels[1])) if j not in in_b],
    )


def _labels(ds: xr.Dataset) -> list[dict[str, Any]]:
    names = [*KEY, *FURTHER_LABELS, "run_id"]
    schema.require(ds, ["c_star", *(name for name in names if name not in schema.SPLIT)])
    columns = {
        name: as_keys(ds[name].values)
        if name in ds.coords
        else [schema.COORDINATES[name].absent] * ds.sizes["cell"]
        for name in names
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _values_of(cell: dict[str, Any], names: Sequence[str]) -> tuple[Any, ...]:
    return tuple(cell[name] for name in names)


def _are_unique(
    labels: list[list[dict[str, Any]]], places: list[list[int]], names: Sequence[str]
) -> bool:
    """Return whether labels name each of the given cells uniquely within its sweep."""
    for cells, found in zip(labels, places, strict=True):
        if len({_values_of(cells[i], names) for i in found}) < len(found):
            return False
    return True


def _mismatch(a: list[dict[str, Any]], b: list[dict[str, Any]]) -> str:
    """Describe the labels that do not occur in both sweeps, or else the cells."""
    apart = []
    for name in KEY:
        in_a, in_b = ({cell[name] for cell in cells} for cells in (a, b))
        if not in_a & in_b:
            apart.append(f"{name} is {_format_labels(in_a)} in A and {_format_labels(in_b)} in B")
    if apart:
        return "; ".join(apart)
    cells = [
        _format_labels({" ".join(map(str, _values_of(cell, KEY))) for cell in of}) for of in (a, b)
    ]
    return f"{', '.join(KEY)} are {cells[0]} in A and {cells[1]} in B"


def _format_labels(labels: set[Any]) -> str:
    texts = [str(each) for each in sorted(labels)]
    more = f" and {len(texts) - MOST} more" if len(texts) > MOST else ""
    return ", ".join(texts[:MOST]) + more


NUMBERS = ("kl", "pmass_eval")
"""Variables that a cell has at every dose that was run."""

ANSWERS = ("pmass", "p_true")
"""Variables at questions, which are optional."""

LABELS = ("run_id", "model", "method", "window")
LENGTHS = ("gen_len", "gen_len_qa")
NEEDED = ("alpha", *LABELS, *LENGTHS, "has_kl", "has_pmass")
OPTIONAL = ("unpaired",)

CONTRAST = ("n_prompts", "end_difference", "end_lower", "end_upper", "p_value")


def comparable(a: xr.Dataset, b: xr.Dataset) -> tuple[xr.Dataset, xr.Dataset]:
    """Restore all dimensions and variables of two sweeps, and give equal doses equal labels."""
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
    """Concatenate cells of two sweeps, those of ``a`` first, aligned by label."""
    parts = []
    for ds, cells in ((a, of_a), (b, of_b)):
        # A run_id may occur in both sweeps, and cannot be an index then.
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
    """Find the doses at which each pair is a duplicate of an earlier pair in both sweeps."""
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
    """Largest difference between two measurements of a cell."""

    quantity: str
    """``kl``, ``pmass_eval``, ``pmass`` or ``p_true``."""
    size: float
    """Absolute; infinite if every difference is between a number and NaN."""
    place: str
    """Dose, prompt and token (or question and fork), and the value in each sweep."""


def same_numbers(a: xr.Dataset, i: int, b: xr.Dataset, j: int) -> bool | None:
    """Return whether all values that both sweeps measured are identical; None without any."""
    doses = False
    for _, values in _side_by_side(a, i, b, j):
        one, other = values.values
        if not ((one == other) | (np.isnan(one) & np.isnan(other))).all():
            return False
        doses = doses or bool(values.sizes["alpha"])
    return True if doses else None


def largest_difference(a: xr.Dataset, i: int, b: xr.Dataset, j: int) -> Difference | None:
    """Find the largest difference of two measurements of a cell; None if they are identical."""
    found: Difference | None = None
    for name, values in _side_by_side(a, i, b, j):
        one, other = values.values.astype(np.float64)
        apart = np.abs(one - other)
        apart[(one == other) | (np.isnan(one) & np.isnan(other))] = 0.0
        if not apart.any():  # NaN, where only one of them is NaN, counts as a difference
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
    """Yield each variable (cell, alpha, ...) of both, at the doses that both measured."""
    names = [name for name in (*NUMBERS, *ANSWERS) if name in a and name in b]
    pair = one_after_another(a, [i], b, [j], names)[names].transpose("cell", "alpha", ...)
    there = {name: _measured(pair[name]) for name in names}
    run = np.logical_or.reduce([there[name] for name in NUMBERS])
    for name in names:
        yield name, pair[name].isel(alpha=np.flatnonzero(run if name in NUMBERS else there[name]))


def _measured(values: xr.DataArray) -> npt.NDArray[np.bool_]:
    """Mark the doses at which both cells have values."""
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
    """Estimate survival at the end of the window by ``run_id``, threshold and dose."""
    if not cells_with(ds, metric).any():
        return {}
    table = survival_summary(ds, metric, thresholds, "run_id", ended=ended)
    # A curve that ends before the window has no survival there.
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
    """Compare survival, B minus A, of each pair by threshold and dose; values are `CONTRAST`."""
    of_a, of_b = ([pair[side] for pair in pairs] for side in (0, 1))
    # KL is large, and only needed for its own metric.
    names = [name for name in (*METRICS, *NEEDED, *OPTIONAL) if name != "kl" or metric == "kl"]
    both = one_after_another(a, of_a, b, of_b, names)
    if not cells_with(both, metric).any():
        return [{} for _ in pairs]
    at = [(len(pairs) + place, place) for place in range(len(pairs))]
    return [
        {key: {name: row[name] for name in CONTRAST} for key, row in rows.items()}
        for rows in cell_contrasts(both, at, metric, thresholds, ended)
    ]
