"""The command that watches a sweep while it runs."""

from __future__ import annotations

import time
from pathlib import Path

from isoklx.cells.termination import owing
from isoklx.cli.outputs import Out, Target
from isoklx.cli.reporting import PAGES, REPORT
from isoklx.errors import BuildError, UsageError

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
    with owing(shown.close), owing(watched.settle):
        try:
            while True:
                shown.show(watched.look())
                time.sleep(every)
        finally:
            try:
                watched.settle()
            finally:  # whatever became of the page
                shown.close()
