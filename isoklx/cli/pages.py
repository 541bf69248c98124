"""The commands ``compare``, ``report`` and ``watch``."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from isoklx.cli.help import explained_by
from isoklx.cli.options import Scope, grouped, select_scope
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
    """Compare the cells that two sweeps have in common, and print what changed from A to B.

    Prints three tables: the cells in both, with c_star of each; the settings that differ; and, at
    each dose, survival and KL of both, with the difference in survival, paired by prompt where the
    prompts are the same. In a folder they are compare_cells, compare_settings and compare_doses.

    Parameters
    ----------
    a, b : Path
        A built file, or a runs root.
    distinct : bool
        Show every cell at every dose, including duplicates (cells that repeat another to the byte
        in both sweeps).
    out : path
        Output folder; created if absent.
    json : bool
        Print one JSON object with the rows of each table, in full precision: cells, settings,
        doses.

    Examples
    --------
    $ isoklx compare before.nc after.nc
    $ isoklx compare outputs_2025 outputs --threshold 0.95 --out tables
    """
    from isoklx.tables.comparison import comparison

    target = delivery.target(())
    refuse_one_sweep(a, b)
    with ExitStack() as stack:
        one, other = (open_part(stack, path, scope) for path in (a, b))
        called = printable(a), printable(b)
        tables = comparison(one, other, called, metric, threshold, distinct, ended)
        names = {f"compare_{name}": table for name, table in tables.items()}
        written = [path for name in names for path in write_table(names[name], name, target)]
    print_tables(tables, json=delivery.json)
    report_delivered(target, written, dict.fromkeys(names, TABLES), json=delivery.json)


def refuse_one_sweep(a: Path, b: Path) -> None:
    """Raise UsageError where both paths lead to the same file or folder."""
    if as_path(a).resolve() == as_path(b).resolve():
        raise UsageError(f"{a} and {b} are the same sweep; give two different ones")


def open_part(stack: ExitStack, path: Path, scope: Scope) -> xr.Dataset:
    """Open the selected part of a sweep, with its texts; errors name the sweep."""
    import isoklx.sweeps.opening

    ds = stack.enter_context(isoklx.sweeps.opening.open_sweep(path, texts=True))
    try:
        return select_scope(ds, scope)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from error


compare: Callable[..., None] = grouped(_compare)


PAGES = ("html",)
"""Possible endings of a page."""

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
    """Write a web page of a sweep: safe doses, figures, tables, and the rollouts to read.

    The page is a single HTML file that opens from disk, without a network. It shows the rollouts
    where FILE is a runs root with gens.jsonl, or was built with --texts. Needs the extra
    `isoklx[report]`.

    Parameters
    ----------
    out : path
        The page; in a folder it is called report.html.
    against : Path, optional
        Another sweep, a file or a runs root, to compare with: a section of the page shows what
        changed from it to FILE.

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
            open_part(stack, file, scope),
            target,
            threshold=threshold,
            survive=survive,
            confidence=confidence,
            against=None if against is None else open_part(stack, against, scope),
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
    """Write the page of a sweep, named ``report`` by default."""
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
"""Default of ``--every``, in seconds."""


def watch(
    root: Path,
    *,
    out: Out = REPORT,
    every: float = EVERY,
    once: bool = False,
    stale: float = 10,
    cells: int | None = None,
) -> None:
    """Show the state of each cell of a running sweep, and keep its page up to date.

    Reads a runs root that this or other machines are writing to, and changes nothing in it. When
    cells have changed, watch builds them into a file beside the page and writes the page, which
    reloads itself in a browser. Ctrl-C ends it and leaves the page as report would write it. On a
    terminal the table is redrawn in place; elsewhere one line is printed per change.

    Parameters
    ----------
    root : Path
        The runs root; it may still be empty.
    out : path
        The page; in a folder it is called report.html. The file is beside it: report.nc.
    every : float
        Seconds between two updates.
    once : bool
        Update once, write the page as report would, print the table, and exit: for cron.
    stale : float
        Minutes without a change after which an unfinished cell is called stale.
    cells : int, optional
        Expected number of cells, for the progress and the time left; by default the number of cells
        begun.

    Examples
    --------
    $ isoklx watch outputs
    $ isoklx watch /shared/outputs --cells 90 --out ~/public/sweep.html --every 120
    $ isoklx watch outputs --once
    """
    if once and every != EVERY:
        raise UsageError("--every and --once exclude each other; give one of them")
    for name, value in (("every", every), ("stale", stale), ("cells", cells)):
        if value is not None and value < 1:
            raise UsageError(f"--{name} must be at least 1, got {value:g}")
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
            finally:  # even if the page cannot be written
                shown.close()
