"""The command that writes the page of a sweep."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from isoklx.cli.choosing import Scope
from isoklx.cli.comparing import opened_part, refuse_one_sweep
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
    from isoklx.report.page import require_extra

    target = Target.of(out, PAGES)
    require_extra()
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
    say_written(target, written, {"report": PAGES})


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
