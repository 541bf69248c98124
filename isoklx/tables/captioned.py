"""The three tables of a sweep as people read them: rows, keys, and a caption that says n."""

from __future__ import annotations

from collections.abc import Sequence

import xarray as xr

from isoklx.stats.lifetimes import METRICS, measured
from isoklx.stats.repeats import count_cells
from isoklx.stats.survival import survival_summary
from isoklx.tables.calibration import (
    CALIBRATION_KEYS,
    HELD_OUT_RANGE,
    TOLERANCE,
    calibration_table,
)
from isoklx.tables.formats import Table
from isoklx.tables.headline import HEADLINE_KEYS, headline_table


def headline(ds: xr.Dataset) -> Table:
    """The headline table: the calibrated coefficient over seeds.

    Parameters
    ----------
    ds : Dataset
        A sweep.

    Returns
    -------
    Table
        Rows of `isoklx.headline_table`.

    Raises
    ------
    DatasetError
        When `ds` is not a sweep.

    Examples
    --------
    >>> import isoklx
    >>> headline(isoklx.open_sweep("data/sample")).caption[:48]
    'Calibrated coefficient c_star, over seeds. Cells'
    """
    frame = headline_table(ds)
    n, n_distinct = count_cells(ds)
    caption = f"Calibrated coefficient c_star, over seeds. {_count_of_cells(n, n_distinct)}"
    averaged = n - int(frame["n_seeds"].sum())
    if averaged:
        caption += f" {averaged} of them repeat a seed: cells of one seed were averaged first."
    return Table(frame, HEADLINE_KEYS, caption)


def survival(
    ds: xr.Dataset,
    metric: str = "pmass_eval",
    thresholds: Sequence[float] | None = None,
    by: Sequence[str] | None = None,
    distinct: bool = True,
) -> Table:
    """The survival table: one row per threshold, group and dose.

    Parameters
    ----------
    ds, metric, thresholds, by, distinct
        As for `isoklx.survival_summary`.

    Returns
    -------
    Table
        Rows of `isoklx.survival_summary`.

    Raises
    ------
    DatasetError, UsageError
        As `isoklx.survival_summary` does.

    Examples
    --------
    >>> import isoklx
    >>> survival(isoklx.open_sweep("data/sample")).keys
    ('threshold', 'alpha')
    """
    frame = survival_summary(ds, metric, thresholds, by, distinct)
    over = "n_distinct trajectories, of distinct cells" if distinct else "all n trajectories"
    caption = (
        f"Kaplan-Meier survival by {metric}. Counts and 95% intervals are over {over}; "
        f"times are in tokens.{_pooled_windows(ds, metric, by or ())}"
    )
    return Table(frame, ("threshold", *(by or ()), "alpha"), caption)


def calibration(ds: xr.Dataset) -> Table:
    """The calibration table: one row per cell.

    Parameters
    ----------
    ds : Dataset
        A sweep.

    Returns
    -------
    Table
        Rows of `isoklx.calibration_table`.

    Raises
    ------
    DatasetError
        When `ds` is not a sweep.

    Examples
    --------
    >>> import isoklx
    >>> len(calibration(isoklx.open_sweep("data/sample")).frame)
    12
    """
    frame = calibration_table(ds)
    n_distinct = int((frame["repeats"] == "").sum())
    lowest, highest = HELD_OUT_RANGE
    caption = (
        f"Calibration of each cell. {_count_of_cells(len(frame), n_distinct)} KL is in nats. "
        f"Converged: the last p95 of the bisection is within {TOLERANCE} of the target. "
        "Pinned: it is not, and c_star is at an end of what was tried. In range: the held-out p95 "
        f"at alpha 1 is {lowest} to {highest} times the target."
    )
    return Table(frame, CALIBRATION_KEYS, caption)


def _pooled_windows(ds: xr.Dataset, metric: str, by: Sequence[str]) -> str:
    """A sentence where cells of several windows share a group, else nothing."""
    whole = measured(ds, metric)
    cells = whole.isel(cell=whole[METRICS[metric].flag].values == 1)
    windows: dict[tuple[object, ...], set[int]] = {}
    for window, *group in zip(*(cells[name].values for name in ("window", *by)), strict=True):
        windows.setdefault(tuple(group), set()).add(int(window))
    pooled = sorted(set().union(*(each for each in windows.values() if len(each) > 1)))
    if not pooled:
        return ""
    return (
        f" Windows of {', '.join(map(str, pooled))} tokens are pooled; "
        "horizon is the largest observed at the dose."
    )


def _count_of_cells(n: int, n_distinct: int) -> str:
    repeats = f" ({n - n_distinct} repeat another to the byte)" if n > n_distinct else ""
    return f"Cells: n = {n}, distinct n = {n_distinct}{repeats}."
