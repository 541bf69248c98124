"""A cell that two sweeps have: its numbers side by side, and how its survival differs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from isoklx import schema
from isoklx.cells.dose_labels import positions, union
from isoklx.stats import repeats
from isoklx.stats.contrasts import cell_contrasts
from isoklx.stats.lifetimes import METRICS, Ended, cells_with
from isoklx.stats.selection import restore_dims, with_absent
from isoklx.stats.survival import survival_summary

NUMBERS = ("kl", "pmass_eval")
"""What makes the results of a cell."""

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


def same_numbers(a: xr.Dataset, i: int, b: xr.Dataset, j: int) -> bool | None:
    """Tell whether KL and pmass at the prompts are identical wherever both were measured.

    Parameters
    ----------
    a, b : Dataset
        As `comparable` gives them.
    i, j : int
        Places of the cell along ``cell``.

    Returns
    -------
    bool or None
        Every number at every dose at which both have numbers; NaN is the same as NaN. None where
        there is no such dose.
    """
    pair = one_after_another(a, [i], b, [j], NUMBERS)
    common = np.zeros(pair.sizes["alpha"], dtype=bool)
    same = np.ones(pair.sizes["alpha"], dtype=bool)
    for name in NUMBERS:
        one, other = pair[name].transpose("cell", "alpha", ...).values
        axes = tuple(range(1, one.ndim))
        there = [~np.isnan(each).all(axis=axes) for each in (one, other)]
        common |= there[0] & there[1]
        same &= ((one == other) | (np.isnan(one) & np.isnan(other))).all(axis=axes)
    return bool(same[common].all()) if common.any() else None


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
