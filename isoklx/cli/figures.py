"""The commands that draw trajectories."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from isoklx.cli.choosing import Scope, of_model
from isoklx.cli.drawing import Panels, Saving, check, draw, draw_figure1
from isoklx.cli.option_groups import grouped
from isoklx.cli.outputs import FIGS, FIGURES, Out, Target, say_written


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
    file : Path
        A file that build wrote, or a runs root.
    out : path
        Folder to write figure1 to, made if there is none; or a file name ending in a format.
    scheduler : str, optional
        Address of a dask.distributed scheduler, tcp://HOST:PORT, whose workers compute; FILE is a
        built file on storage that they see.

    Examples
    --------
    $ isoklx figure outputs.nc --window 512
    $ isoklx figure outputs.nc --kind fan --alphas 0.5,1,2 --by method
    $ isoklx figure outputs.nc --kind spaghetti --color_by_pmass --format png,pdf
    """
    import isoklx.sweeps.opening

    target = Target.of(out, FIGURES)
    check(saving, target, panels)
    with isoklx.sweeps.opening.opened(file, scheduler) as ds:
        written = draw_figure1(ds, target, scope, panels, saving)
    say_written(target, written, {"figure1": FIGURES})


def _alive(
    file: Path,
    *,
    threshold: float = 0.75,
    calib_tokens: int | None = None,
    normalize: bool = True,
    by: str | None = None,
    roll: int = 65,
    out: Out = FIGS,
    scheduler: str | None = None,
    scope: Scope,
    saving: Saving,
) -> None:
    """Draw every trajectory, normalised by its own early KL, alive and dead in two colours.

    Parameters
    ----------
    file : Path
        A file that build wrote, or a runs root.
    threshold : float
        Dead from the first fork on with pmass below it.
    calib_tokens : int, optional
        Tokens whose p95 a trajectory is divided by; by default 20.
    normalize : bool
        Draw KL in nats as it is, not divided.
    by : str, optional
        A row of panels for each value of a label: method, model_short, seed.
    roll : int
        Tokens of the moving mean.
    out : path
        Folder to write alive to, made if there is none; or a file name ending in a format.
    scheduler : str, optional
        Address of a dask.distributed scheduler, tcp://HOST:PORT, whose workers compute; FILE is a
        built file on storage that they see.

    Examples
    --------
    $ isoklx alive outputs.nc --threshold 0.95
    $ isoklx alive outputs.nc --nonormalize --by method
    """
    import isoklx.plot
    import isoklx.sweeps.opening

    target = Target.of(out, FIGURES)
    check(saving, target)
    options: dict[str, Any] = {"by": by}  # what it may be, the function says
    with isoklx.sweeps.opening.opened(file, scheduler) as ds:
        written = draw(
            "alive",
            target,
            saving,
            lambda: isoklx.plot.alive(
                of_model(ds, scope.model_contains),
                threshold=threshold,
                calib_tokens=calib_tokens,
                normalize=normalize,
                roll=roll,
                window=scope.window,
                alphas=scope.alphas,
                **options,
            ),
        )
    say_written(target, written, {"alive": FIGURES})


figure: Callable[..., None] = grouped(_figure)
alive: Callable[..., None] = grouped(_alive)
