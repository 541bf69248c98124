"""The three tables of a sweep as people read them: rows, keys, and a caption that says n."""

from __future__ import annotations

from collections.abc import Sequence

import xarray as xr

from isoklx import tables
from isoklx.repeats import repeated_cells
from isoklx.survival_curves import survival_summary
from isoklx.table_formats import Table


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
    frame = tables.headline_table(ds)
    caption = f"Calibrated coefficient c_star, over seeds. {_count_of_cells(ds)}"
    averaged = ds.sizes["cell"] - int(frame["n_seeds"].sum())
    if averaged:
        caption += f" {averaged} of them repeat a seed: cells of one seed were averaged first."
    return Table(frame, tables.HEADLINE_KEYS, caption)


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
        "times are in tokens."
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
    lowest, highest = tables.HELD_OUT_RANGE
    caption = (
        f"Calibration of each cell. {_count_of_cells(ds)} KL is in nats. Converged: the last p95 "
        f"of the bisection is within {tables.TOLERANCE} of the target. Pinned: it is not, and "
        "c_star is at an end of what was tried. In range: the held-out p95 at alpha 1 is "
        f"{lowest} to {highest} times the target."
    )
    return Table(tables.calibration_table(ds), tables.CALIBRATION_KEYS, caption)


def _count_of_cells(ds: xr.Dataset) -> str:
    n = ds.sizes["cell"]
    n_distinct = n - sum(len(group) - 1 for group in repeated_cells(ds))
    repeats = f" ({n - n_distinct} repeat another to the byte)" if n > n_distinct else ""
    return f"Cells: n = {n}, distinct n = {n_distinct}{repeats}."
