"""Comparison of two sweeps, cell by cell."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from isoklx.cells.parsing import union
from isoklx.stats.assumptions import of_difference
from isoklx.stats.endpoint import METRICS, Ended, checked_thresholds
from isoklx.stats.kernels.comparisons import holm
from isoklx.stats.matching import (
    CONTRAST,
    KEY,
    comparable,
    contrasts,
    end_survival,
    largest_difference,
    repeated_doses,
    same_cells,
    same_numbers,
)
from isoklx.tables.changed_settings import CellSettings, changed_settings, same_prompts
from isoklx.tables.table import Table

PAIRED = ("same texts", "same hash", "same number")
"""Results of `same_prompts` at which prompts can be paired."""

C_STAR = ("c_star_a", "c_star_b", "c_star_ratio")
DIFFERENCE = ("differs_in", "largest_difference", "differs_at")
CELLS = (
    *("cell", "found_in", "same_numbers", *DIFFERENCE, "same_files", *C_STAR, "changed", "prompts"),
    *(*KEY, "cell_b"),
)
SETTINGS = ("setting", "a", "b", "n_cells")
SURVIVAL = ("survival_a", "survival_b")
KL_P95 = ("kl_p95_a", "kl_p95_b")
Row = dict[str, Any]
DOSES = ("cell", "threshold", "alpha", *SURVIVAL, *CONTRAST, "p_holm", *KL_P95)


class Comparison(NamedTuple):
    """Differences between sweeps A and B.

    Parameters
    ----------
    cells, settings, doses : DataFrame
        See `isoklx.compare`.

    Examples
    --------
    >>> import isoklx
    >>> cells, settings, doses = isoklx.compare(*[isoklx.open_sweep("data/sample")] * 2)
    >>> len(cells), len(settings)
    (12, 0)
    """

    cells: pd.DataFrame
    settings: pd.DataFrame
    doses: pd.DataFrame


def compare(
    a: xr.Dataset,
    b: xr.Dataset,
    metric: str = "pmass_eval",
    threshold: float | Sequence[float] | None = None,
    distinct: bool = True,
    ended: Ended = "censored",
) -> Comparison:
    """Compare two sweeps, cell by cell: settings, numbers and survival.

    Cells are matched by short model name, method, seed and window. If a sweep has several cells
    with the same labels, they are told apart by the sign of ``c_star``, the layer, the full model
    name or, last, ``run_id``.

    Parameters
    ----------
    a, b : Dataset
        Sweeps, or selections of them. Open them with ``texts=True`` to compare prompts by text.
    metric, threshold
        As for `isoklx.survival`.
    distinct : bool
        Leave out the doses at which a cell is, in both sweeps, a byte-identical duplicate of an
        earlier one.
    ended
        As for `isoklx.survival`.

    Returns
    -------
    Comparison
        Three DataFrames. Unknown numbers are NaN.

        cells
            One row per cell of `a` or `b`.

            cell, cell_b
                ``run_id`` in `a` (in `b` for a cell found only there); ``run_id`` in `b`, if
                different.
            found_in
                "both", "A" or "B".
            model_short, method, seed, window
                Labels of the cell.
            c_star_a, c_star_b, c_star_ratio
                Calibrated coefficients, and B over A.
            same_numbers
                For a cell in both: True if ``kl``, ``pmass_eval``, ``pmass`` and ``p_true`` are
                identical at every dose run in both; NA if unknown.
            same_files
                True if both were read from identical files; NA if unknown.
            differs_in, largest_difference, differs_at
                If numbers differ: the quantity with the largest difference, its size (infinite if
                only one cell has a number), and its place (dose, prompt, token, both values).
            changed
                Names of the settings that differ.
            prompts
                "same texts"; "same hash" (of the prompt file, in ``measured_with``); "same number"
                if nothing more is known; "different"; or "none".
        settings
            One row per change: the ``setting``, its values in ``a`` and ``b`` as text, and the
            number of cells (``n_cells``). ``doses``, ``forks`` and the numbers of ``prompts`` and
            ``questions`` are those with results. Settings in ``measured_with`` are compared value
            by value; hashes are shortened to 12 digits.
        doses
            One row per cell in both, ``threshold``, and ``alpha`` run in either.

            survival_a, survival_b
                Survival at the end of the window.
            end_difference, end_lower, end_upper, p_value, n_prompts
                Difference B minus A, its 95% interval, the p value of the log-rank test, and the
                number of prompts, as in `isoklx.survival_contrast`; NaN if prompts differ.
            p_holm
                ``p_value`` adjusted for the rows of this table.
            kl_p95_a, kl_p95_b
                p95 of KL in nats.

    Raises
    ------
    DatasetError
        If `a` or `b` is not a sweep.
    UsageError
        If the sweeps share no cell, and as `isoklx.survival` does.

    Examples
    --------
    >>> import isoklx
    >>> ds = isoklx.open_sweep("data/sample")
    >>> found = compare(ds.assign(c_star=ds.c_star / 2), isoklx.select(ds, method="pca"))
    >>> found.cells.found_in.value_counts().to_dict()
    {'A': 8, 'both': 4}
    >>> found.cells.c_star_ratio.max()
    np.float64(2.0)
    """
    thresholds = checked_thresholds(metric, threshold)
    one, other = (_Sweep.of(ds, metric, thresholds, ended) for ds in comparable(a, b))
    found = same_cells(one.ds, other.ds)
    nothing: list[set[float]] = [set() for _ in found.pairs]
    duplicate_doses = repeated_doses(one.ds, other.ds, found.pairs) if distinct else nothing
    cells: list[Row] = []
    doses: list[Row] = []
    changes: Counter[tuple[str, str, str]] = Counter()
    evidence = [same_prompts(metric, one.settings, i, other.settings, j) for i, j in found.pairs]
    paired = [pair for pair, said in zip(found.pairs, evidence, strict=True) if said in PAIRED]
    differences = contrasts(one.ds, other.ds, paired, metric, thresholds, ended)
    contrast = dict(zip(paired, differences, strict=True))
    for (i, j), repeated, prompts in zip(found.pairs, duplicate_doses, evidence, strict=True):
        differing = changed_settings(one.settings, i, other.settings, j)
        changes.update((name, *values) for name, values in differing.items())
        results = _difference_columns(one, i, other, j) | {"prompts": prompts}
        cells.append(_matched_row(one, i, other, j) | results | {"changed": ", ".join(differing)})
        ran = union([*one.settings.doses(i), *other.settings.doses(j)]).tolist()
        at = list(product(thresholds, [alpha for alpha in ran if alpha not in repeated]))
        known = contrast.get((i, j), {})
        doses += [_dose_row(one, i, other, j, *key) | known.get(key, {}) for key in at]
    cells += [_unmatched_row(one, i, "A") for i in found.only_a]
    cells += [_unmatched_row(other, j, "B") for j in found.only_b]
    return Comparison(_cells_frame(cells), _settings_frame(changes), _doses_frame(doses))


@dataclass(frozen=True)
class _Sweep:
    """A sweep with the settings and the survival of its cells."""

    ds: xr.Dataset
    settings: CellSettings
    survival: dict[tuple[str, float, float], float]
    """Survival at the end of the window by ``run_id``, threshold and dose."""

    @classmethod
    def of(cls, ds: xr.Dataset, metric: str, thresholds: list[float], ended: Ended) -> _Sweep:
        return cls(ds, CellSettings(ds), end_survival(ds, metric, thresholds, ended))

    def value(self, name: str, cell: int) -> Any:
        return self.ds[name].values[cell].item()

    def name(self, cell: int) -> str:
        return str(self.value("run_id", cell))

    def labels(self, cell: int) -> Row:
        return {"cell": self.name(cell)} | {name: self.value(name, cell) for name in KEY}


def _unmatched_row(sweep: _Sweep, cell: int, found_in: str) -> Row:
    c_star = {f"c_star_{found_in.lower()}": sweep.value("c_star", cell)}
    return sweep.labels(cell) | {"found_in": found_in} | c_star


def _matched_row(one: _Sweep, i: int, other: _Sweep, j: int) -> Row:
    before, after = one.value("c_star", i), other.value("c_star", j)
    ratio = after / before if before else np.nan
    c_star = dict(zip(C_STAR, (before, after, ratio), strict=True))
    row = one.labels(i) | {"found_in": "both"} | c_star
    if other.name(j) != one.name(i):
        row["cell_b"] = other.name(j)
    if "source_hash" in one.ds and "source_hash" in other.ds:
        row["same_files"] = one.value("source_hash", i) == other.value("source_hash", j)
    return row


def _difference_columns(one: _Sweep, i: int, other: _Sweep, j: int) -> Row:
    """Return whether all numbers agree and, if not, the largest difference."""
    same = same_numbers(one.ds, i, other.ds, j)
    largest = None if same is not False else largest_difference(one.ds, i, other.ds, j)
    return {"same_numbers": same} | dict(zip(DIFFERENCE, largest or (), strict=False))


def _dose_row(one: _Sweep, i: int, other: _Sweep, j: int, threshold: float, alpha: float) -> Row:
    """Return the results of both cells at a dose; missing ones are left out."""
    row: Row = {"cell": one.name(i), "threshold": threshold, "alpha": alpha}
    sides = zip((one, other), (i, j), SURVIVAL, KL_P95, strict=True)
    for sweep, cell, survival, kl_p95 in sides:
        known = sweep.survival.get((sweep.name(cell), threshold, alpha))
        row |= {} if known is None else {survival: known}
        place = np.flatnonzero(sweep.ds["alpha"].values == alpha)
        if "kl_p95" in sweep.ds and place.size:
            row[kl_p95] = float(sweep.ds["kl_p95"].values[cell, place[0]])
    return row


def _cells_frame(rows: list[Row]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(CELLS))
    flags = dict.fromkeys(("same_files", "same_numbers"), "boolean")
    return frame.astype(flags | dict.fromkeys((*C_STAR, "largest_difference"), "float64"))


def _settings_frame(changes: Counter[tuple[str, str, str]]) -> pd.DataFrame:
    rows = [
        (name, _shorten_hash(was), _shorten_hash(now), n) for (name, was, now), n in changes.items()
    ]
    return pd.DataFrame(rows, columns=list(SETTINGS)).astype({"n_cells": "int64"})


def _shorten_hash(value: str) -> str:
    """Shorten a hash to 12 digits."""
    return value[:12] if re.fullmatch(r"[0-9a-f]{40,}", value) else value


def _doses_frame(rows: list[Row]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(DOSES))
    frame = frame.astype({name: "float64" for name in DOSES if name != "cell"})
    frame["p_holm"] = holm(frame["p_value"].to_numpy())
    return frame


PROMPTS_IN_CAPTION = {
    "same texts": "identical texts",
    "same hash": "files with the same hash",
    "same number": "equal number, assumed identical,",
    "different": "different, not paired,",
}
"""Results of `same_prompts` as a caption words them."""

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
    """Return the tables ``cells``, ``settings`` and ``doses`` of `isoklx.compare` with captions."""
    found = compare(a, b, metric, threshold, distinct, ended)
    doses_caption = _doses_caption(found, metric, ended, distinct=distinct)
    return {
        "cells": Table(found.cells, ("cell",), _cells_caption(found.cells, called)),
        "settings": Table(found.settings, ("setting",), _settings_caption(found)),
        "doses": Table(found.doses, ("cell", "threshold", "alpha"), doses_caption),
    }


def _cells_caption(cells: pd.DataFrame, called: tuple[str, str]) -> str:
    counts = cells["found_in"].value_counts()
    n, in_a, in_b = (int(counts.get(name, 0)) for name in ("both", "A", "B"))
    alike = int(cells["same_numbers"].sum())
    return (
        f"A is {called[0]}, B is {called[1]}. Cells in both: {n}, only in A: {in_a}, only in B: "
        f"{in_b}; matched by model, method, seed and window. Cells with identical numbers (KL, "
        f"pmass and p_true wherever both were measured): {alike} of {n}. {_largest(cells)}"
        "c_star_ratio is B over A."
    )


def _largest(cells: pd.DataFrame) -> str:
    """Name the cell with the largest difference, separately for each quantity."""
    differing = cells.dropna(subset=["differs_in"])
    worst = differing.sort_values("largest_difference", ascending=False, kind="stable")
    sentences = [
        f"{row.differs_in} by {row.largest_difference:.3g} in {row.cell} at {row.differs_at}"
        for row in worst.drop_duplicates("differs_in").itertuples()
    ]
    return f"Largest differences: {'; '.join(sentences)}. " if sentences else ""


def _settings_caption(found: Comparison) -> str:
    if found.settings.empty:
        return "No setting differs between A and B, as far as settings were recorded."
    n = int((found.cells["found_in"] == "both").sum())
    return f"Settings that differ, and in how many of the {n} cells in both."


def _doses_caption(found: Comparison, metric: str, ended: Ended, *, distinct: bool) -> str:
    counts = found.cells["prompts"].value_counts()
    unit = METRICS[metric].unit
    prompts = "; ".join(
        f"{words} in {counts[word]} cell{'s' if counts[word] > 1 else ''}"
        for word, words in PROMPTS_IN_CAPTION.items()
        if word in counts
    )
    tested = int(found.doses["p_holm"].notna().sum())
    different = int((found.doses["p_holm"] < SIGNIFICANT).sum())
    return (
        f"Survival by {metric} at the end of the window and p95 of KL in nats, by dose. "
        f"Differences are B minus A. {of_difference(metric, ended)} "
        + (f"{unit.capitalize()}s: {prompts}. " if prompts else "")
        + "The p value is of the log-rank test, which assumes independent trajectories; p_holm is "
        f"adjusted for all rows of this table and is below {SIGNIFICANT:g} in {different} of "
        f"{tested} tests."
        + (" Doses at which a cell duplicates another in both sweeps are left out." * distinct)
    )
