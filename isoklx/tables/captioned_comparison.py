"""What changed from one sweep to another, as people read it: three tables, each with a caption."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import xarray as xr

from isoklx.stats.assumptions import of_difference
from isoklx.stats.lifetimes import METRICS, Ended
from isoklx.tables.comparison import Comparison, compare
from isoklx.tables.formats import Table

EVIDENCE = {
    "same texts": "the same by their texts",
    "same hash": "the same by the hash of their file",
    "same number": "as many, and taken for the same,",
    "different": "different, so that nothing is paired,",
}
"""What a caption says of prompts."""

SIGNIFICANT = 0.05


def comparison(
    a: xr.Dataset,
    b: xr.Dataset,
    called: tuple[str, str] = ("the first", "the second"),
    metric: str = "pmass_eval",
    threshold: Sequence[float] | None = None,
    distinct: bool = True,
    ended: Ended = "censored",
) -> dict[str, Table]:
    """The tables of a comparison.

    Parameters
    ----------
    a, b, metric, threshold, distinct, ended
        As for `isoklx.compare`.
    called : (str, str)
        What the sweeps are called.

    Returns
    -------
    dict
        ``cells``, ``settings`` and ``doses`` of `isoklx.compare`.

    Raises
    ------
    DatasetError, UsageError
        As `isoklx.compare` does.

    Examples
    --------
    >>> import isoklx
    >>> ds = isoklx.open_sweep("data/sample")
    >>> comparison(ds, ds)["settings"].caption
    'No setting differs between A and B, as far as settings were recorded.'
    """
    found = compare(a, b, metric, threshold, distinct, ended)
    of_doses = _of_doses(found, metric, ended, distinct=distinct)
    return {
        "cells": Table(found.cells, ("cell",), _of_cells(found.cells, called)),
        "settings": Table(found.settings, ("setting",), _of_settings(found)),
        "doses": Table(found.doses, ("cell", "threshold", "alpha"), of_doses),
    }


def _of_cells(cells: pd.DataFrame, called: tuple[str, str]) -> str:
    counts = cells["found_in"].value_counts()
    n, in_a, in_b = (int(counts.get(name, 0)) for name in ("both", "A", "B"))
    alike = int(cells["same_numbers"].sum())
    return (
        f"A is {called[0]}, B is {called[1]}. Cells in both: {n}, in A alone: {in_a}, in B alone: "
        f"{in_b}; the same are those of one model, method, seed and window. Of those in both, "
        f"{alike} have the same numbers: KL, pmass and p_true are identical wherever both were "
        f"measured. {_largest(cells)}c star ratio is B over A."
    )


def _largest(cells: pd.DataFrame) -> str:
    """Sentence on the cell whose numbers differ most, each quantity by itself."""
    differing = cells.dropna(subset=["differs_in"])
    worst = differing.sort_values("largest_difference", ascending=False, kind="stable")
    sentences = [
        f"{row.differs_in} by {row.largest_difference:.3g} in {row.cell} at {row.differs_at}"
        for row in worst.drop_duplicates("differs_in").itertuples()
    ]
    return f"Largest differences: {'; '.join(sentences)}. " if sentences else ""


def _of_settings(found: Comparison) -> str:
    if found.settings.empty:
        return "No setting differs between A and B, as far as settings were recorded."
    n = int((found.cells["found_in"] == "both").sum())
    return f"Settings that differ, and in how many of the cells in both (there are {n})."


def _of_doses(found: Comparison, metric: str, ended: Ended, *, distinct: bool) -> str:
    counts = found.cells["prompts"].value_counts()
    unit = METRICS[metric].unit
    prompts = "; ".join(
        f"{said} in {counts[word]} cell{'s' if counts[word] > 1 else ''}"
        for word, said in EVIDENCE.items()
        if word in counts
    )
    tested = int(found.doses["p_holm"].notna().sum())
    different = int((found.doses["p_holm"] < SIGNIFICANT).sum())
    return (
        f"Survival by {metric} at the end of the window, and p95 of KL in nats, at each dose. "
        f"Differences are B minus A. {of_difference(metric, ended)} "
        + (f"{unit.capitalize()}s are {prompts}. " if prompts else "")
        + "p is of the log-rank test, which takes trajectories as independent; p holm is adjusted "
        f"for the rows of this table, and below {SIGNIFICANT:g} in {different} of the {tested} "
        "that have one."
        + (" A dose at which a cell repeats another in both sweeps is left out." * distinct)
    )
