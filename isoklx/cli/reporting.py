"""The command that writes the page of a sweep."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from isoklx.cli.choosing import Scope, chosen
from isoklx.cli.explanations import explained_by
from isoklx.cli.option_groups import grouped
from isoklx.cli.outputs import Out, Target, say_written

if TYPE_CHECKING:
    import xarray as xr

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
    scope: Scope,
) -> None:
    """Write one page to look at: safe doses, figures, tables, and the rollouts to read.

    A single file of HTML that opens from disk, without a network. The rollouts can be read where
    FILE is a runs root with gens.jsonl, or was built with --texts. Needs the extra of that name.

    Parameters
    ----------
    out : path
        The page; in a folder it is called report.html.

    Examples
    --------
    $ isoklx report outputs
    $ isoklx report outputs.nc --out page.html --window 512
    """
    import isoklx.sweeps.opening
    from isoklx.report.page import require_extra

    target = Target.of(out, PAGES)
    require_extra()
    with isoklx.sweeps.opening.open_sweep(file, texts=True) as ds:
        written = draw_report(
            chosen(ds, scope), target, threshold=threshold, survive=survive, confidence=confidence
        )
    say_written(target, written, {"report": PAGES})


def draw_report(
    ds: xr.Dataset,
    target: Target,
    *,
    threshold: float | None,
    survive: float = 0.9,
    confidence: float = 0.95,
) -> list[Path]:
    """Write the page of a sweep, as ``report`` where the target names nothing else."""
    from isoklx.report.page import write_report

    path = target.folder / f"{target.name or 'report'}.html"
    return [write_report(ds, path, threshold=threshold, survive=survive, confidence=confidence)]


report: Callable[..., None] = grouped(_report)
