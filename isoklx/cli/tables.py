"""The commands that print tables, and write them beside their figures."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from isoklx.cli.drawing import Saving, draw_calibration, draw_survival, say_written
from isoklx.cli.option_groups import grouped
from isoklx.errors import UsageError
from isoklx.terminal import printable

if TYPE_CHECKING:
    from isoklx.tables.formats import Table

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
    import isoklx.sweeps.opening
    from isoklx.tables.captioned import headline

    with isoklx.sweeps.opening.open_sweep(file) as ds:
        _deliver("table", headline(ds), out, json=json)


def _survival(
    file: Path,
    *,
    metric: Literal["pmass_eval", "pmass", "kl"] = "pmass_eval",
    threshold: tuple[float, ...] | None = None,
    by: tuple[str, ...] | None = None,
    alphas: tuple[float, ...] | None = None,
    distinct: bool = True,
    interval: Literal["auto", "beta", "prompts", "greenwood"] = "auto",
    ended: Literal["censored", "alive"] = "censored",
    out: Path | None = None,
    json: bool = False,
    scheduler: str | None = None,
    saving: Saving,
) -> None:
    """Print how many trajectories lived, by dose: Kaplan-Meier survival in one row per dose.

    Parameters
    ----------
    file : Path
        A file that build wrote, or a runs root.
    metric : {"pmass_eval", "pmass", "kl"}
        What death is read from: pmass below the threshold at a fork, or KL at it or above.
    threshold : tuple of float, optional
        In (0, 1] for pmass, by default 0.75; in nats for KL, where they must be given.
    by : tuple of str, optional
        Labels of a cell to group by: method, model_short, seed, window, ...
    alphas : tuple of float, optional
        Doses; all of them by default.
    distinct : bool
        Count every cell, those too that repeat another one to the byte.
    interval : {"auto", "beta", "prompts", "greenwood"}
        95% interval: beta product over prompts (auto and prompts) or over trajectories, or
        Greenwood's.
    ended : {"censored", "alive"}
        Whether a rollout that ended before its window tells nothing of the rest of it, or was
        alive to the end of it.
    out : Path, optional
        Folder to write the table and the figure to; made if there is none.
    json : bool
        Print the rows as JSON, with all digits, instead.
    scheduler : str, optional
        Address of a dask.distributed scheduler, tcp://HOST:PORT, whose workers compute; FILE is a
        built file on storage that they see.

    Examples
    --------
    $ isoklx survival outputs.nc --by method
    $ isoklx survival outputs.nc --threshold 0.75,0.95 --alphas 1,2 --out tables
    $ isoklx survival outputs.nc --metric kl --threshold 5 --nodistinct
    """
    import isoklx.stats.selection
    import isoklx.sweeps.opening
    import isoklx.tables.captioned

    with isoklx.sweeps.opening.opened(file, scheduler) as ds:
        doses = ds if alphas is None else isoklx.stats.selection.select_alphas(ds, alphas)
        choice: dict[str, Any] = {
            "metric": metric,
            "threshold": threshold,
            "by": by,
            "distinct": distinct,
            "interval": interval,
            "ended": ended,
        }
        _deliver("survival", isoklx.tables.captioned.survival(doses, **choice), out, json=json)
        if out is not None:
            try:
                _say(draw_survival(doses, out, saving, **choice), json=json)
            except UsageError as error:  # a table may differ in more things than a figure
                print(f"no figure: {printable(error)}", file=sys.stderr if json else None)


def contrast(
    file: Path,
    *,
    by: str = "method",
    metric: Literal["pmass_eval", "pmass", "kl"] = "pmass_eval",
    threshold: tuple[float, ...] | None = None,
    alphas: tuple[float, ...] | None = None,
    distinct: bool = True,
    ended: Literal["censored", "alive"] = "censored",
    out: Path | None = None,
    json: bool = False,
    scheduler: str | None = None,
) -> None:
    """Print how the survival of every two methods, or of every two doses, differs.

    Differences in survival and in restricted mean survival time, with intervals paired by prompt,
    and the log-rank test with its p adjusted for the number of rows.

    Parameters
    ----------
    file : Path
        A file that build wrote, or a runs root.
    by : str
        What is compared: method, model_short, seed, window, ... at each dose, or alpha.
    metric : {"pmass_eval", "pmass", "kl"}
        What death is read from: pmass below the threshold at a fork, or KL at it or above.
    threshold : tuple of float, optional
        In (0, 1] for pmass, by default 0.75; in nats for KL, where they must be given.
    alphas : tuple of float, optional
        Doses; all of them by default.
    distinct : bool
        Count every cell, those too that repeat another one to the byte.
    ended : {"censored", "alive"}
        Whether a rollout that ended before its window tells nothing of the rest of it, or was
        alive to the end of it.
    out : Path, optional
        Folder to write contrast.csv and contrast.md to; made if there is none.
    json : bool
        Print the rows as JSON, with all digits, instead.
    scheduler : str, optional
        Address of a dask.distributed scheduler, tcp://HOST:PORT, whose workers compute; FILE is a
        built file on storage that they see.

    Examples
    --------
    $ isoklx contrast outputs.nc --alphas 1,2
    $ isoklx contrast outputs.nc --by alpha --threshold 0.95 --out tables
    """
    import isoklx.stats.selection
    import isoklx.sweeps.opening
    import isoklx.tables.captioned

    with isoklx.sweeps.opening.opened(file, scheduler) as ds:
        doses = ds if alphas is None else isoklx.stats.selection.select_alphas(ds, alphas)
        compared = isoklx.tables.captioned.contrast(doses, by, metric, threshold, distinct, ended)
        _deliver("contrast", compared, out, json=json)


def dose(
    file: Path,
    *,
    by: tuple[str, ...] | None = ("method",),
    survive: float = 0.9,
    confidence: float = 0.95,
    metric: Literal["pmass_eval", "pmass", "kl"] = "pmass_eval",
    threshold: tuple[float, ...] | None = None,
    alphas: tuple[float, ...] | None = None,
    distinct: bool = True,
    ended: Literal["censored", "alive"] = "censored",
    out: Path | None = None,
    json: bool = False,
    scheduler: str | None = None,
) -> None:
    """Print the largest dose that may be called safe, and why no larger one.

    The largest tested alpha at which, and at every smaller one, survival can be claimed with the
    given confidence; how many prompts a claim would need where there are too few. With --out, what
    each dose does is written as well: survival, KL, pmass and more, each with its interval.

    Parameters
    ----------
    file : Path
        A file that build wrote, or a runs root.
    by : tuple of str, optional
        Labels of a cell to group by: method, model_short, seed, window, ...
    survive : float
        Share of trajectories that has to survive.
    confidence : float
        Of the lower bound that has to reach it.
    metric : {"pmass_eval", "pmass", "kl"}
        What death is read from: pmass below the threshold at a fork, or KL at it or above.
    threshold : tuple of float, optional
        In (0, 1] for pmass, by default 0.75; in nats for KL, where they must be given.
    alphas : tuple of float, optional
        Doses; all of them by default.
    distinct : bool
        Count every cell, those too that repeat another one to the byte.
    ended : {"censored", "alive"}
        Whether a rollout that ended before its window tells nothing of the rest of it, or was
        alive to the end of it.
    out : Path, optional
        Folder to write the tables dose and dose_response to; made if there is none.
    json : bool
        Print the rows as JSON, with all digits, instead.
    scheduler : str, optional
        Address of a dask.distributed scheduler, tcp://HOST:PORT, whose workers compute; FILE is a
        built file on storage that they see.

    Examples
    --------
    $ isoklx dose outputs.nc
    $ isoklx dose outputs.nc --survive 0.6 --by method,model_short --out tables
    """
    import isoklx.stats.selection
    import isoklx.sweeps.opening
    from isoklx.tables import captioned
    from isoklx.tables.files import write_table

    with isoklx.sweeps.opening.opened(file, scheduler) as ds:
        doses = ds if alphas is None else isoklx.stats.selection.select_alphas(ds, alphas)
        choice = (metric, threshold, distinct)
        safe = captioned.dose(doses, by, survive, confidence, *choice, ended)
        _deliver("dose", safe, out, json=json)
        if out is not None:
            response = captioned.response(doses, by, *choice, ended=ended)
            _say(write_table(response, out, "dose_response"), json=json)


def _calibration(
    file: Path, *, out: Path | None = None, json: bool = False, saving: Saving
) -> None:
    """Print, cell by cell, whether the calibration can be trusted.

    Whether the bisection reached its target or ran into a limit, whether it holds on held-out
    prompts, whether the model is itself at alpha 0, and whether recorded numbers can be recomputed.

    Parameters
    ----------
    file : Path
        A file that build wrote, or a runs root.
    out : Path, optional
        Folder to write the table and the figure to; made if there is none.
    json : bool
        Print the rows as JSON, with all digits, instead.

    Examples
    --------
    $ isoklx calibration outputs.nc
    $ isoklx calibration outputs.nc --out tables
    """
    import isoklx.sweeps.opening
    import isoklx.tables.captioned

    with isoklx.sweeps.opening.open_sweep(file) as ds:
        _deliver("calibration", isoklx.tables.captioned.calibration(ds), out, json=json)
        if out is not None:
            _say(draw_calibration(ds, out, saving), json=json)


def _deliver(name: str, table: Table, out: Path | None, *, json: bool) -> None:
    """Print a table, write it if asked, and say what was written."""
    from isoklx.tables.files import write_table
    from isoklx.tables.formats import as_json, as_text

    width = shutil.get_terminal_size((WIDTH, 0)).columns
    print(as_json(table) if json else as_text(table, width) + "\n" * (out is not None))
    if out is not None:
        _say(write_table(table, out, name), json=json)


def _say(paths: list[Path], *, json: bool) -> None:
    # With --json, standard output is for a program to read.
    say_written(paths, sys.stderr if json else sys.stdout)


survival: Callable[..., None] = grouped(_survival)
calibration: Callable[..., None] = grouped(_calibration)
