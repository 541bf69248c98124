"""A cell that two sweeps have: its numbers side by side, and how its survival differs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xarray as xr

from isoklx import schema
from isoklx.cells.dose_labels import positions, union
from isoklx.stats import repeats
from isoklx.stats.contrasts import cell_contrasts
from isoklx.stats.lifetimes import METRICS, Ended, cells_with
from isoklx.stats.selection import restore_dims, with_absent
from isoklx.stats.survival import survival_summary

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
        for each in (repeats.compare(ds) for ds in (a, b))
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
