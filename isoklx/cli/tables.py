"""The commands that print tables and write them with their figures."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from isoklx.cli.drawing import (
    Saving,
    check,
    draw_calibration,
    draw_dose_response,
    draw_survival,
    figure_files,
)
from isoklx.cli.help import explained_by
from isoklx.cli.options import Cells, Scope, grouped, select_scope
from isoklx.cli.outputs import (
    BOTH,
    TABLES,
    Delivery,
    print_table,
    print_tables,
    report_delivered,
    write_table,
)
from isoklx.errors import UsageError
from isoklx.stats.quantities import Shown
from isoklx.system.terminal import printable

SHOWN: tuple[Shown, ...] = ("survival", "kl_p95")


@explained_by("isoklx.sweeps.opening.opened")
def _table(file: Path, *, cells: Cells, delivery: Delivery) -> None:
    """Print the headline table: calibrated coefficient by model, method and window.

    Columns are the mean, the standard deviation over seeds, the number of distinct calibrations and
    the coefficient of variation. Cells that were calibrated but not swept count too.

    Examples
    --------
    $ isoklx table outputs.nc
    $ isoklx table outputs.nc --out tables
    $ isoklx table outputs.nc --json
    """
    import isoklx.sweeps.opening
    from isoklx.tables.captioned import headline

    target = delivery.target(TABLES)
    with isoklx.sweeps.opening.open_sweep(file) as ds:
        rows = headline(select_scope(ds, cells))
        written = write_table(rows, "table", target)
    print_table(rows, json=delivery.json)
    report_delivered(target, written, {"table": TABLES}, json=delivery.json)


@explained_by("isoklx.stats.survival.survival", "isoklx.sweeps.opening.opened")
def _survival(
    file: Path,
    *,
    metric: Literal["pmass_eval", "pmass", "kl"] = "pmass_eval",
    threshold: tuple[float, ...] | None = None,
    by: tuple[str, ...] | None = None,
    hue: str | None = None,
    distinct: bool = True,
    interval: Literal["auto", "beta", "prompts", "greenwood"] = "auto",
    ended: Literal["censored", "alive"] = "censored",
    scope: Scope,
    delivery: Delivery,
    scheduler: str | None = None,
    saving: Saving,
) -> None:
    """Print the share of trajectories that stay alive: Kaplan-Meier survival by dose.

    Parameters
    ----------
    by : tuple of str, optional
        Cell labels to group by: method, model_short, seed, window, ...
    hue : str, optional
        One more label; its curves share a panel of the figure, which then has one panel per dose.
    distinct : bool
        Count every cell, including duplicates (cells that repeat another to the byte).
    interval : {"auto", "beta", "prompts", "greenwood"}
        95% interval: beta product over prompts (auto and prompts) or over trajectories (beta), or
        Greenwood's.

    Examples
    --------
    $ isoklx survival outputs.nc --by method
    $ isoklx survival outputs.nc --hue method --width column --out survival.pdf
    $ isoklx survival outputs.nc --threshold 0.75,0.95 --alphas 1,2 --out tables
    $ isoklx survival outputs.nc --metric kl --threshold 5 --nodistinct --out deaths.pdf
    """
    import isoklx.sweeps.opening
    import isoklx.tables.captioned

    target = delivery.target(BOTH)
    check(saving, target)
    no_figure = ""
    with isoklx.sweeps.opening.opened(file, scheduler) as ds:
        part = select_scope(ds, scope)
        choice: dict[str, Any] = {
            "metric": metric,
            "threshold": threshold,
            "distinct": distinct,
            "interval": interval,
            "ended": ended,
        }
        labels = tuple(dict.fromkeys([*(by or ()), *([hue] if hue else [])])) or None
        rows = isoklx.tables.captioned.survival(part, by=labels, **choice)
        written = write_table(rows, "survival", target)
        try:
            if target is not None:
                written += draw_survival(part, target, saving, by=by, hue=hue, **choice)
        except UsageError as error:  # a table can show more labels than a figure
            if not written:
                raise
            no_figure = f"no figure: {printable(error)}"
    print_table(rows, json=delivery.json)
    report_delivered(target, written, _files("survival", saving), json=delivery.json)
    if no_figure:
        print(no_figure, file=sys.stderr if delivery.json else None)


@explained_by("isoklx.stats.survival.survival", "isoklx.sweeps.opening.opened")
def _contrast(
    file: Path,
    *,
    by: str = "method",
    metric: Literal["pmass_eval", "pmass", "kl"] = "pmass_eval",
    threshold: tuple[float, ...] | None = None,
    distinct: bool = True,
    ended: Literal["censored", "alive"] = "censored",
    scope: Scope,
    delivery: Delivery,
    scheduler: str | None = None,
) -> None:
    """Print the differences in survival between every two methods, or every two doses.

    Shows differences in survival and in restricted mean survival time, with intervals paired by
    prompt, and the log-rank test with its p value adjusted for the number of rows (Holm).

    Parameters
    ----------
    by : str
        Label to compare: method, model_short, seed, window, ... at each dose, or alpha.
    distinct : bool
        Count every cell, including duplicates (cells that repeat another to the byte).

    Examples
    --------
    $ isoklx contrast outputs.nc --alphas 1,2
    $ isoklx contrast outputs.nc --by alpha --threshold 0.95 --out tables
    """
    import isoklx.sweeps.opening
    import isoklx.tables.captioned

    target = delivery.target(TABLES)
    with isoklx.sweeps.opening.opened(file, scheduler) as ds:
        part = select_scope(ds, scope)
        rows = isoklx.tables.captioned.contrast(part, by, metric, threshold, distinct, ended)
        written = write_table(rows, "contrast", target)
    print_table(rows, json=delivery.json)
    report_delivered(target, written, {"contrast": TABLES}, json=delivery.json)


@explained_by(
    "isoklx.stats.survival.survival",
    "isoklx.stats.safety.safe_dose",
    "isoklx.plot.dose_response.dose_response",
    "isoklx.sweeps.opening.opened",
)
def _dose(
    file: Path,
    *,
    by: tuple[str, ...] | None = ("method",),
    survive: float = 0.9,
    confidence: float = 0.95,
    metric: Literal["pmass_eval", "pmass", "kl"] = "pmass_eval",
    threshold: tuple[float, ...] | None = None,
    distinct: bool = True,
    ended: Literal["censored", "alive"] = "censored",
    show: tuple[Shown, ...] = SHOWN,
    scope: Scope,
    delivery: Delivery,
    scheduler: str | None = None,
    saving: Saving,
) -> None:
    """Print the effects of each dose, the safe dose, and why no larger dose is safe.

    First table, per dose: coefficient, held-out KL, survival, rollout length and changes of the
    answers. Second table: the safe dose (the tested alpha farthest from 0 such that survival is
    high enough there and at every smaller one, with the given confidence), the number of prompts
    that a claim needs where there are too few, and the observed dose, up to which no trajectory
    died. A folder also receives the table and figure dose_response: all quantities at each dose,
    with intervals.

    Parameters
    ----------
    by : tuple of str, optional
        Cell labels to group by: method, model_short, seed, window, ...
    distinct : bool
        Count every cell, including duplicates (cells that repeat another to the byte).
    title : bool
        Omit the title, for a paper that has it in the caption.

    Examples
    --------
    $ isoklx dose outputs.nc
    $ isoklx dose outputs.nc --survive 0.6 --by method,model_short --out tables
    $ isoklx dose outputs.nc --show survival,kl_p95,correct --out doses.pdf
    """
    import isoklx.sweeps.opening
    from isoklx.tables import captioned
    from isoklx.tables.dose_summary import dose_summary, safe_summary

    target = delivery.target(BOTH)
    check(saving, target)
    if show != SHOWN and (target is None or not saving.formats(target)):
        raise UsageError(f"--show {','.join(show)} needs a figure; write one with --out")
    choice = (metric, threshold, distinct)
    with isoklx.sweeps.opening.opened(file, scheduler) as ds:
        part = select_scope(ds, scope)
        rows = captioned.dose(part, by, survive, confidence, *choice, ended)
        written = write_table(rows, "dose", target)
        level = 2 * confidence - 1
        response = captioned.response(part, by, *choice, ended=ended, level=level)
        if target is not None and target.name is None:
            written += write_table(response, "dose_response", target)
        if target is not None:
            claim = {"survive": survive, "confidence": confidence, "ended": ended}
            how = dict(zip(("metric", "threshold", "distinct"), choice, strict=True))
            written += draw_dose_response(part, target, saving, show=show, by=by, **how, **claim)
    tables = {"doses": response, "safe_dose": rows}
    if not delivery.json:
        tables = {
            "doses": dose_summary(response, metric, confidence),
            "safe_dose": safe_summary(rows, response),
        }
    print_tables(tables, json=delivery.json)
    files = {"dose": TABLES} | _files("dose_response", saving)
    report_delivered(target, written, files, json=delivery.json)


@explained_by("isoklx.sweeps.opening.opened")
def _calibration(file: Path, *, cells: Cells, delivery: Delivery, saving: Saving) -> None:
    """Print checks of each cell's calibration.

    Checks that the calibration converged within the range tried and holds on held-out prompts, that
    the model is unchanged at alpha 0, and that recorded numbers agree with their recomputation.

    Examples
    --------
    $ isoklx calibration outputs.nc
    $ isoklx calibration outputs.nc --out tables
    """
    import isoklx.sweeps.opening
    import isoklx.tables.captioned

    target = delivery.target(BOTH)
    check(saving, target)
    with isoklx.sweeps.opening.open_sweep(file) as ds:
        part = select_scope(ds, cells)
        rows = isoklx.tables.captioned.calibration(part)
        written = write_table(rows, "calibration", target)
        written += [] if target is None else draw_calibration(part, target, saving)
    print_table(rows, json=delivery.json)
    report_delivered(target, written, _files("calibration", saving), json=delivery.json)


def _files(name: str, saving: Saving) -> dict[str, Sequence[str]]:
    """Return the names of a table and its figure, with their possible endings."""
    if saving.name:
        return {name: TABLES, **figure_files(saving.name)}
    return figure_files(name, BOTH)


table: Callable[..., None] = grouped(_table)
survival: Callable[..., None] = grouped(_survival)
contrast: Callable[..., None] = grouped(_contrast)
dose: Callable[..., None] = grouped(_dose)
calibration: Callable[..., None] = grouped(_calibration)
