"""A cell that two sweeps have: its numbers side by side, and how its survival differs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from isoklx import schema
from isoklx.cells.dose_labels import positions, union
from isoklx.stats import repeats
from isoklx.stats.contrasts import survival_contrast
from isoklx.stats.lifetimes import METRICS, Ended, cells_with
from isoklx.stats.selection import restore_dims, with_absent
from isoklx.stats.survival import survival_summary

NUMBERS = ("kl", "pmass_eval")
"""What makes the results of a cell."""

LABELS = ("run_id", "model", "method", "window")
LENGTHS = ("gen_len", "gen_len_qa")
NEEDED = ("alpha", *LABELS, *LENGTHS, "has_kl", "has_pmass")
OPTIONAL = ("unpaired",)

SIDES = (1, 0)
"""Label ``sweep`` of A and of B; a contrast is the smaller label's minus the larger one's."""

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


def side_by_side(a: xr.Dataset, i: int, b: xr.Dataset, j: int) -> xr.Dataset:
    """Put one cell of each of two sweeps into one Dataset, in memory.

    Parameters
    ----------
    a, b : Dataset
        As `comparable` gives them.
    i, j : int
        Places of the cell along ``cell``.

    Returns
    -------
    Dataset
        What survival is made of, for two cells, with the label ``sweep``: 1 of `a`, 0 of `b`.
    """
    parts = []
    for (ds, place), side in zip(((a, i), (b, j)), SIDES, strict=True):
        names = [name for name in (*METRICS, *NEEDED, *OPTIONAL) if name in ds]
        part = ds.drop_indexes("run_id", errors="ignore")[names].isel(cell=[place])
        coords = [name for name in part.coords if name not in {*schema.DIMS, *LABELS}]
        parts.append(part.drop_vars(coords).assign_coords(sweep=("cell", [side])).load())
    pair: xr.Dataset = xr.concat(
        parts,
        "cell",
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="outer",
        combine_attrs="override",
        fill_value={"unpaired": 0},
    )
    return pair


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


def same_numbers(pair: xr.Dataset) -> bool | None:
    """Tell whether KL and pmass at the prompts are identical wherever both were measured.

    Parameters
    ----------
    pair : Dataset
        As of `side_by_side`.

    Returns
    -------
    bool or None
        Every number at every dose at which both have numbers; NaN is the same as NaN. None where
        there is no such dose.
    """
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
        Without what was not measured.
    """
    if not cells_with(ds, metric).any():
        return {}
    table = survival_summary(ds, metric, thresholds, "run_id", ended=ended)
    keys = zip(table["run_id"], table["threshold"], table["alpha"], strict=True)
    return dict(zip(keys, table["end_survival"].tolist(), strict=True))


def contrast_of(
    pair: xr.Dataset, metric: str, thresholds: Sequence[float], ended: Ended
) -> dict[tuple[float, float], dict[str, float]]:
    """How survival differs, B minus A, by threshold and dose.

    Parameters
    ----------
    pair : Dataset
        As of `side_by_side`, at doses that both have the metric at; prompts of the same index are
        the same.
    metric, thresholds, ended
        As for `isoklx.survival`.

    Returns
    -------
    dict
        `CONTRAST` of `isoklx.survival_contrast`.
    """
    if metric != "kl":
        pair = pair.isel(token=slice(0))  # nothing is read from it, and cells repeat no other
    table = survival_contrast(pair, "sweep", metric, thresholds, ended=ended)
    return {
        (row["threshold"], row["alpha"]): {name: row[name] for name in CONTRAST}
        for row in table.to_dict("records")
    }
