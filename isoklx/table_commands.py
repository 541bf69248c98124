"""The commands that print tables, and write them."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

WIDTH = 100
"""Columns, where the output is no terminal."""


def table(file: Path, *, out: Path | None = None, json: bool = False) -> None:
    """Print the calibrated coefficient by model, method and window: the headline table.

    Its mean, its standard deviation over seeds, their number, and the coefficient of variation.
    Cells that were calibrated and not swept count too.

    Parameters
    ----------
    file : Path
        A file that build wrote, or a runs root.
    out : Path, optional
        Folder to write table.csv and table.md to; made if there is none.
    json : bool
        Print the rows as JSON, with all digits, instead.

    Examples
    --------
    $ isoklx table outputs.nc
    $ isoklx table outputs.nc --out tables
    $ isoklx table outputs.nc --json
    """
    import isoklx.opening
    import isoklx.tables

    with isoklx.opening.open_sweep(file) as ds:
        frame = isoklx.tables.headline_table(ds)
        caption = f"Calibrated coefficient c_star, over seeds. {_count_of_cells(ds)}"
        averaged = ds.sizes["cell"] - int(frame["n_seeds"].sum())
    if averaged:
        caption += f" {averaged} of them repeat a seed: cells of one seed were averaged first."
    _deliver("table", frame, isoklx.tables.HEADLINE_KEYS, caption, out, json=json)


def survival(
    file: Path,
    *,
    metric: Literal["pmass_eval", "pmass", "kl"] = "pmass_eval",
    thresholds: tuple[float, ...] | None = None,
    by: tuple[str, ...] | None = None,
    alphas: tuple[float, ...] | None = None,
    distinct: bool = True,
    out: Path | None = None,
    json: bool = False,
) -> None:
    """Print how many trajectories lived, by dose: Kaplan-Meier survival in one row per dose.

    Parameters
    ----------
    file : Path
        A file that build wrote, or a runs root.
    metric : {"pmass_eval", "pmass", "kl"}
        What death is read from: pmass below the threshold at a fork, or KL at it or above.
    thresholds : tuple of float, optional
        In (0, 1] for pmass, by default 0.75; in nats for KL, where they must be given.
    by : tuple of str, optional
        Labels of a cell to group by: method, model_short, seed, window, ...
    alphas : tuple of float, optional
        Doses; all of them by default.
    distinct : bool
        Count every cell, those too that repeat another one to the byte.
    out : Path, optional
        Folder to write survival.csv and survival.md to; made if there is none.
    json : bool
        Print the rows as JSON, with all digits, instead.

    Examples
    --------
    $ isoklx survival outputs.nc --by method
    $ isoklx survival outputs.nc --thresholds 0.75,0.95 --alphas 1,2 --out tables
    $ isoklx survival outputs.nc --metric kl --thresholds 5 --nodistinct
    """
    import isoklx.opening
    import isoklx.selection
    import isoklx.survival_curves

    with isoklx.opening.open_sweep(file) as ds:
        doses = ds if alphas is None else isoklx.selection.select_alphas(ds, alphas)
        frame = isoklx.survival_curves.survival_summary(doses, metric, thresholds, by, distinct)
    over = "n_distinct trajectories, of distinct cells" if distinct else "all n trajectories"
    caption = (
        f"Kaplan-Meier survival by {metric}. Counts and 95% intervals are over {over}; "
        "times are in tokens."
    )
    _deliver("survival", frame, ("threshold", *(by or ()), "alpha"), caption, out, json=json)


def calibration(file: Path, *, out: Path | None = None, json: bool = False) -> None:
    """Print, cell by cell, whether the calibration can be trusted.

    Whether the bisection reached its target or ran into a limit, whether it holds on held-out
    prompts, whether the model is itself at alpha 0, and whether recorded numbers can be recomputed.

    Parameters
    ----------
    file : Path
        A file that build wrote, or a runs root.
    out : Path, optional
        Folder to write calibration.csv and calibration.md to; made if there is none.
    json : bool
        Print the rows as JSON, with all digits, instead.

    Examples
    --------
    $ isoklx calibration outputs.nc
    $ isoklx calibration outputs.nc --out tables
    """
    import isoklx.opening
    import isoklx.tables

    with isoklx.opening.open_sweep(file) as ds:
        frame = isoklx.tables.calibration_table(ds)
        cells = _count_of_cells(ds)
    lowest, highest = isoklx.tables.HELD_OUT_RANGE
    caption = (
        f"Calibration of each cell. {cells} KL is in nats. Converged: the last p95 of the "
        f"bisection is within {isoklx.tables.TOLERANCE} of the target. Pinned: it is not, and "
        "c_star is at an end of what was tried. In range: the held-out p95 at alpha 1 is "
        f"{lowest} to {highest} times the target."
    )
    _deliver("calibration", frame, isoklx.tables.CALIBRATION_KEYS, caption, out, json=json)


def _count_of_cells(ds: xr.Dataset) -> str:
    from isoklx.repeats import repeated_cells

    n = ds.sizes["cell"]
    n_distinct = n - sum(len(group) - 1 for group in repeated_cells(ds))
    repeats = f" ({n - n_distinct} repeat another to the byte)" if n > n_distinct else ""
    return f"Cells: n = {n}, distinct n = {n_distinct}{repeats}."


def _deliver(
    name: str,
    frame: pd.DataFrame,
    keys: tuple[str, ...],
    caption: str,
    out: Path | None,
    *,
    json: bool,
) -> None:
    """Print a table, write it if asked, and say what was written."""
    from isoklx.table_files import write_table
    from isoklx.table_formats import Table, as_json, as_text
    from isoklx.terminal import printable

    table = Table(frame, keys, caption)
    width = shutil.get_terminal_size((WIDTH, 0)).columns
    print(as_json(table) if json else as_text(table, width))
    if out is not None:
        paths = write_table(table, out, name)
        # With --json, standard output is for a program to read.
        print(f"\nwrote {' and '.join(map(printable, paths))}", file=sys.stderr if json else None)
