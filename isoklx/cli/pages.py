"""The command that compares two sweeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from isoklx.cli.help import explained_by
from isoklx.cli.options import Scope, chosen, grouped
from isoklx.cli.outputs import (
    TABLES,
    Delivery,
    Out,
    Target,
    print_tables,
    report_delivered,
    report_written,
    write_table,
)
from isoklx.errors import BuildError, UsageError
from isoklx.system.paths import as_path
from isoklx.system.signals import cleanup_on_signal
from isoklx.system.terminal import printable

if TYPE_CHECKING:
    import xarray as xr


@explained_by("isoklx.stats.survival.survival", "isoklx.tables.comparison.compare")
def _compare(
    a: Path,
    b: Path,
    *,
    metric: Literal["pmass_eval", "pmass", "kl"] = "pmass_eval",
    threshold: tuple[float, ...] | None = None,
    distinct: bool = True,
    ended: Literal["censored", "alive"] = "censored",
    scope: Scope,
    delivery: Delivery,
) -> None:
    """Print what changed from sweep A to sweep B, in the cells that both have.

    Three tables: which cells are in both, with c_star of each; the settings that differ; and at
    each dose survival and KL of both, with the difference in survival, paired by prompt where the
    prompts are the same. Into a folder each is written as compare_cells, compare_settings and
    compare_doses.

    Parameters
    ----------
    a, b : Path
        A file that build wrote, or a runs root.
    distinct : bool
        Show every cell at every dose, those too that repeat another to the byte in both sweeps.
    out : path
        Folder to write to; made if there is none.
    json : bool
        Print the rows as JSON, with all digits, in one object: cells, settings, doses.

    Examples
    --------
    $ isoklx compare before.nc after.nc
    $ isoklx compare outputs_2025 outputs --threshold 0.95 --out tables
    """
    from isoklx.tables.comparison import comparison

    target = delivery.target(())
    refuse_one_sweep(a, b)
    with ExitStack() as stack:
        one, other = (opened_part(stack, path, scope) for path in (a, b))
        called = printable(a), printable(b)
        tables = comparison(one, other, called, metric, threshold, distinct, ended)
        names = {f"compare_{name}": table for name, table in tables.items()}
        written = [path for name in names for path in write_table(names[name], name, target)]
    print_tables(tables, json=delivery.json)
    report_delivered(target, written, dict.fromkeys(names, TABLES), json=delivery.json)


def refuse_one_sweep(a: Path, b: Path) -> None:
    """Raise UsageError where both paths lead to the same file or folder."""
    if as_path(a).resolve() == as_path(b).resolve():
        raise UsageError(f"{a} and {b} are one and the same; give two sweeps")


def opened_part(stack: ExitStack, path: Path, scope: Scope) -> xr.Dataset:
    """Open the part of a sweep that was asked for, with its texts; an error names the sweep."""
    import isoklx.sweeps.opening

    ds = stack.enter_context(isoklx.sweeps.opening.open_sweep(path, texts=True))
    try:
        return chosen(ds, scope)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


compare: Callable[..., None] = grouped(_compare)


PAGES = ("html",)
"""Endings of a page."""

REPORT = Out(Path("report.html"))


@explained_by("isoklx.report.page.write_report", "isoklx.sweeps.opening.opened")
def _report(
    file: Path,
    *,
    out: Out = REPORT,
    threshold: float | None = None,
    survive: float = 0.9,
    confidence: float = 0.95,
    against: Path | None = None,
    scope: Scope,
) -> None:
    """Write one page to look at: safe doses, figures, tables, and the rollouts to read.

    A single file of HTML that opens from disk, without a network. The rollouts can be read where
    FILE is a runs root with gens.jsonl, or was built with --texts. Needs the extra of that name.

    Parameters
    ----------
    out : path
        The page; in a folder it is called report.html.
    against : Path, optional
        Another sweep, a file or a runs root: a section of the page says what changed from it to
        FILE.

    Examples
    --------
    $ isoklx report outputs
    $ isoklx report outputs.nc --out page.html --window 512
    $ isoklx report outputs --against outputs_before.nc
    """
    from isoklx.report.page import require_report_extra

    target = Target.of(out, PAGES)
    require_report_extra()
    if against is not None:
        refuse_one_sweep(file, against)
    with ExitStack() as stack:
        written = draw_report(
            opened_part(stack, file, scope),
            target,
            threshold=threshold,
            survive=survive,
            confidence=confidence,
            against=None if against is None else opened_part(stack, against, scope),
            against_name=str(against),
        )
    report_written(target, written, {"report": PAGES})


def draw_report(
    ds: xr.Dataset,
    target: Target,
    *,
    threshold: float | None,
    survive: float = 0.9,
    confidence: float = 0.95,
    against: xr.Dataset | None = None,
    against_name: str = "",
) -> list[Path]:
    """Write the page of a sweep, as ``report`` where the target names nothing else."""
    from isoklx.report.page import write_report

    return [
        write_report(
            ds,
            target.folder / f"{target.name or 'report'}.html",
            threshold=threshold,
            survive=survive,
            confidence=confidence,
            against=against,
            against_name=against_name,
        )
    ]


report: Callable[..., None] = grouped(_report)


EVERY = 30
"""Seconds between two looks, where nothing else is asked for."""


def watch(
    root: Path,
    *,
    out: Out = REPORT,
    every: float = EVERY,
    once: bool = False,
    stale: float = 10,
    cells: int | None = None,
) -> None:
    """Show what each cell of a running sweep is doing, and keep its page current.

    Works over a runs root that this or other machines write to, and only reads it. Whenever cells
    have changed, those are built into a file beside the page, and the page is written, which reads
    itself anew in a browser. Ctrl-C ends it, with the page as report would write it. On a terminal
    a table is kept in its place; elsewhere a line is printed when something has changed.

    Parameters
    ----------
    root : Path
        The runs root; there may be no cell in it yet.
    out : path
        The page; in a folder it is called report.html. The file is beside it: report.nc.
    every : float
        Seconds between two looks.
    once : bool
        Look once, write the page as report would, print the table, and end: for cron.
    stale : float
        Minutes without anything written after which a cell that is not done is stale.
    cells : int, optional
        How many cells there will be, for the progress and the time left; by default those that are
        begun.

    Examples
    --------
    $ isoklx watch outputs
    $ isoklx watch /shared/outputs --cells 90 --out ~/public/sweep.html --every 120
    $ isoklx watch outputs --once
    """
    if once and every != EVERY:
        raise UsageError("--every says when to look again, and --once does not; give one of both")
    for name, value in (("every", every), ("stale", stale), ("cells", cells)):
        if value is not None and value < 1:
            raise UsageError(f"--{name} {value:g}: give at least 1")
    target = Target.of(out, PAGES)

    from isoklx.watch.display import display, whole
    from isoklx.watch.watching import Watch

    page = target.folder / f"{target.name or 'report'}.html"
    watched = Watch(root, page, stale=60 * stale, cells=cells, every=None if once else every)
    if once:
        view = watched.look()
        print("\n".join(whole(view)))
        if view.problems and view.read is None:
            raise BuildError(view.problems[0])
        return
    shown = display(every)
    with cleanup_on_signal(shown.close), cleanup_on_signal(watched.settle):
        try:
            while True:
                shown.show(watched.look())
                time.sleep(every)
        finally:
            try:
                watched.settle()
            finally:  # whatever became of the page
                shown.close()
