"""The commands ``figure`` and ``alive``, which draw trajectories."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from isoklx.cli.drawing import Panels, Saving, check, draw, draw_figure1, figure_files, figure_stem
from isoklx.cli.help import explained_by
from isoklx.cli.options import Scope, grouped, select_model_and_side
from isoklx.cli.outputs import FIGS, FIGURES, Files, Out, Target, report_written


@explained_by("isoklx.plot.figure1.figure1", "isoklx.sweeps.opening.opened", Files)
def _figure(
    file: Path,
    *,
    out: Out = FIGS,
    scheduler: str | None = None,
    scope: Scope,
    panels: Panels,
    saving: Saving,
) -> None:
    """Draw Figure 1: KL per token and pmass at forks, one column of panels per dose.

    Parameters
    ----------
    out : path
        Output folder, created if absent, or one file name ending in .png, .pdf or .svg.
    distinct : bool
        Draw every cell, including duplicates (cells that repeat another to the byte).
    title : bool
        Omit the title, for a paper that has it in the caption.

    Examples
    --------
    $ isoklx figure outputs.nc --window 512
    $ isoklx figure outputs.nc --kind fan --alphas 0.5,1,2 --by method
    $ isoklx figure outputs.nc --hue method --width column --notitle --format pdf
    $ isoklx figure outputs.nc --kind spaghetti --color_by_pmass --name steered --data
    """
    import isoklx.sweeps.opening

    target = Target.of(out, FIGURES)
    check(saving, target, panels)
    with isoklx.sweeps.opening.opened(file, scheduler) as ds:
        written = draw_figure1(ds, target, scope, panels, saving)
    report_written(target, written, figure_files(figure_stem(panels.stem, target, saving)))


@explained_by("isoklx.plot.alive.alive", "isoklx.sweeps.opening.opened", Files)
def _alive(
    file: Path,
    *,
    threshold: float = 0.75,
    calib_tokens: int | None = None,
    normalize: bool = True,
    by: str | None = None,
    roll: int | None = None,
    edges: Literal["shrink", "repeat"] = "shrink",
    distinct: bool = True,
    out: Out = FIGS,
    scheduler: str | None = None,
    scope: Scope,
    saving: Saving,
) -> None:
    """Draw every trajectory, normalised by its own early KL, alive and dead in two colours.

    Parameters
    ----------
    normalize : bool
        Draw KL in nats, without dividing it.
    out : path
        Output folder, created if absent, or one file name ending in .png, .pdf or .svg.
    distinct : bool
        Draw every cell, including duplicates (cells that repeat another to the byte).
    title : bool
        Omit the title, for a paper that has it in the caption.

    Examples
    --------
    $ isoklx alive outputs.nc --threshold 0.95
    $ isoklx alive outputs.nc --nonormalize --by method
    """
    import isoklx.plot
    import isoklx.sweeps.opening

    target = Target.of(out, FIGURES)
    check(saving, target)
    with isoklx.sweeps.opening.opened(file, scheduler) as ds:
        written = draw(
            "alive",
            target,
            saving,
            lambda: isoklx.plot.alive(
                select_model_and_side(ds, scope),
                threshold=threshold,
                calib_tokens=calib_tokens,
                normalize=normalize,
                by=by,
                roll=roll,
                edges=edges,
                distinct=distinct,
                window=scope.window,
                alphas=scope.alphas,
                **saving.page,
            ),
        )
    report_written(target, written, figure_files(figure_stem("alive", target, saving)))


figure: Callable[..., None] = grouped(_figure)
alive: Callable[..., None] = grouped(_alive)
