"""Two sweeps of the same cells: what changed from one to the other."""

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
"""Words of `same_prompts` for prompts that can be paired."""

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
    """What changed from sweep A to sweep B.

    Parameters
    ----------
    cells, settings, doses : DataFrame
        As `isoklx.compare` describes them.

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
    """Compare two sweeps, cell by cell: what was changed, and what came of it.

    Cells are the same that have the same short name of the model, method, seed and window. Where a
    sweep has several such, the sign of ``c_star``, the layer, the model's full name or, last of
    all, ``run_id`` tells them apart.

    Parameters
    ----------
    a, b : Dataset
        Sweeps, or selections of them. Opened with ``texts=True``, their prompts can be compared.
    metric, threshold
        As for `isoklx.survival`.
    distinct : bool
        Leave out the doses at which a cell, in both sweeps, repeats an earlier one to the byte.
    ended
        As for `isoklx.survival`.

    Returns
    -------
    Comparison
        Three DataFrames.

        cells
            One row per cell of either: ``cell``, its ``run_id`` in `a` (in `b` where it is only
            there), and ``cell_b``, that in `b` where it is another; ``found_in`` "both", "A" or
            "B"; ``c_star_a``, ``c_star_b``, and ``c_star_ratio``, B over A; and ``model_short``,
            ``method``, ``seed``, ``window``. Of those in both: ``same_numbers``, whether ``kl``,
            ``pmass_eval``, ``pmass`` and ``p_true`` are identical at every dose that both were run
            at, and ``same_files``, whether they were made of the same files (booleans; NA where
            that is unknown); where numbers differ, the quantity that differs most
            (``differs_in``), by how much (``largest_difference``, infinite where one cell has a
            number and the other none), and where (``differs_at``: dose, prompt, token and both
            values);
            ``changed``, the names of the settings that differ; and ``prompts``: "same texts", "same
            hash" (of the file of prompts, in ``measured_with``), "same number" where no more is
            known, "different", or "none".
        settings
            One row per change: ``setting``, what it was in ``a`` and is in ``b``, both as text, and
            the number of cells, ``n_cells``. ``doses``, ``prompts``, ``questions`` (numbers) and
            ``forks`` are those that there are numbers of. What ``measured_with`` holds is compared
            value by value; of hashes 12 digits are shown.
        doses
            One row per cell in both, ``threshold`` and ``alpha`` that either was run at:
            ``survival_a``, ``survival_b`` at the end of the window; ``end_difference``, B minus A,
            with its 95% interval ``end_lower``, ``end_upper``, ``p_value`` of the log-rank test,
            ``p_holm``, adjusted for the rows of this table, and ``n_prompts``, all as
            `isoklx.survival_contrast` has them; ``kl_p95_a``, ``kl_p95_b`` in nats. NaN where there
            is no number; differences are of the doses of cells whose prompts are not different.

    Raises
    ------
    DatasetError
        When one is not a sweep.
    UsageError
        When no cell is in both, and as `isoklx.survival` does.

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
    again = repeated_doses(one.ds, other.ds, found.pairs) if distinct else nothing
    cells: list[Row] = []
    doses: list[Row] = []
    changes: Counter[tuple[str, str, str]] = Counter()
    evidence = [same_prompts(metric, one.settings, i, other.settings, j) for i, j in found.pairs]
    paired = [pair for pair, said in zip(found.pairs, evidence, strict=True) if said in PAIRED]
    differences = contrasts(one.ds, other.ds, paired, metric, thresholds, ended)
    contrast = dict(zip(paired, differences, strict=True))
    for (i, j), repeated, prompts in zip(found.pairs, again, evidence, strict=True):
        differing = changed_settings(one.settings, i, other.settings, j)
        changes.update((name, *values) for name, values in differing.items())
        results = _numbers(one, i, other, j) | {"prompts": prompts}
        cells.append(_in_both(one, i, other, j) | results | {"changed": ", ".join(differing)})
        ran = union([*one.settings.doses(i), *other.settings.doses(j)]).tolist()
        at = list(product(thresholds, [alpha for alpha in ran if alpha not in repeated]))
        known = contrast.get((i, j), {})
        doses += [_at_dose(one, i, other, j, *key) | known.get(key, {}) for key in at]
    cells += [_in_one(one, i, "A") for i in found.only_a]
    cells += [_in_one(other, j, "B") for j in found.only_b]
    return Comparison(_cells(cells), _settings(changes), _doses(doses))


@dataclass(frozen=True)
class _Sweep:
    """One of the two, with what is known of each of its cells."""

    ds: xr.Dataset
    settings: CellSettings
    survival: dict[tuple[str, float, float], float]
    """By ``run_id``, threshold and dose."""

    @classmethod
    def of(cls, ds: xr.Dataset, metric: str, thresholds: list[float], ended: Ended) -> _Sweep:
        return cls(ds, CellSettings(ds), end_survival(ds, metric, thresholds, ended))

    def value(self, name: str, cell: int) -> Any:
        return self.ds[name].values[cell].item()

    def name(self, cell: int) -> str:
        return str(self.value("run_id", cell))

    def labels(self, cell: int) -> Row:
        return {"cell": self.name(cell)} | {name: self.value(name, cell) for name in KEY}


def _in_one(sweep: _Sweep, cell: int, found_in: str) -> Row:
    c_star = {f"c_star_{found_in.lower()}": sweep.value("c_star", cell)}
    return sweep.labels(cell) | {"found_in": found_in} | c_star


def _in_both(one: _Sweep, i: int, other: _Sweep, j: int) -> Row:
    was, now = one.value("c_star", i), other.value("c_star", j)
    c_star = dict(zip(C_STAR, (was, now, now / was if was else np.nan), strict=True))
    row = one.labels(i) | {"found_in": "both"} | c_star
    if other.name(j) != one.name(i):
        row["cell_b"] = other.name(j)
    if "source_hash" in one.ds and "source_hash" in other.ds:
        row["same_files"] = one.value("source_hash", i) == other.value("source_hash", j)
    return row


def _numbers(one: _Sweep, i: int, other: _Sweep, j: int) -> Row:
    """Whether all numbers are the same, and the largest difference."""
    same = same_numbers(one.ds, i, other.ds, j)
    largest = None if same is not False else largest_difference(one.ds, i, other.ds, j)
    return {"same_numbers": same} | dict(zip(DIFFERENCE, largest or (), strict=False))


def _at_dose(one: _Sweep, i: int, other: _Sweep, j: int, threshold: float, alpha: float) -> Row:
    """What either was measured to do at a dose; without what it was not."""
    row: Row = {"cell": one.name(i), "threshold": threshold, "alpha": alpha}
    sides = zip((one, other), (i, j), SURVIVAL, KL_P95, strict=True)
    for sweep, cell, survival, kl_p95 in sides:
        known = sweep.survival.get((sweep.name(cell), threshold, alpha))
        row |= {} if known is None else {survival: known}
        place = np.flatnonzero(sweep.ds["alpha"].values == alpha)
        if "kl_p95" in sweep.ds and place.size:
            row[kl_p95] = float(sweep.ds["kl_p95"].values[cell, place[0]])
    return row


def _cells(rows: list[Row]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(CELLS))
    flags = dict.fromkeys(("same_files", "same_numbers"), "boolean")
    return frame.astype(flags | dict.fromkeys((*C_STAR, "largest_difference"), "float64"))


def _settings(changes: Counter[tuple[str, str, str]]) -> pd.DataFrame:
    rows = [(name, _shown(was), _shown(now), n) for (name, was, now), n in changes.items()]
    return pd.DataFrame(rows, columns=list(SETTINGS)).astype({"n_cells": "int64"})


def _shown(value: str) -> str:
    """Of a hash, as much as tells two apart."""
    return value[:12] if re.fullmatch(r"[0-9a-f]{40,}", value) else value


def _doses(rows: list[Row]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(DOSES))
    frame = frame.astype({name: "float64" for name in DOSES if name != "cell"})
    frame["p_holm"] = holm(frame["p_value"].to_numpy())
    return frame


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
