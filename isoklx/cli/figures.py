"""The commands that draw trajectories."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from isoklx.cli.drawing import (
    Panels,
    Saving,
    Scope,
    check,
    draw,
    draw_figure1,
    of_model,
    say_written,
)
from isoklx.cli.option_groups import grouped


def _figure(
    file: Path,
    *,
    out: Path = Path("figs"),
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
    out : Path
        Folder to write figure1 to; made if there is none.
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

    check(panels, saving)
    with isoklx.sweeps.opening.opened(file, scheduler) as ds:
        say_written(draw_figure1(ds, out, scope, panels, saving))


def _alive(
    file: Path,
    *,
    threshold: float = 0.75,
    calib_tokens: int = 20,
    normalize: bool = True,
    by: Literal["method", "model_short", "seed"] | None = None,
    roll: int | None = None,
    edges: Literal["shrink", "repeat"] = "shrink",
    distinct: bool = True,
    out: Path = Path("figs"),
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
    calib_tokens : int
        Tokens whose p95 a trajectory is divided by.
    normalize : bool
        Draw KL in nats as it is, not divided.
    by : {"method", "model_short", "seed"}, optional
        A row of panels for each method, model or seed.
    roll : int, optional
        Tokens of the moving mean; by default an eighth of the window, at most 65.
    edges : {"shrink", "repeat"}
        At its ends a trajectory averages the tokens that there are, or its end value repeated.
    distinct : bool
        Draw every cell, those too that repeat another one to the byte.
    out : Path
        Folder to write alive to; made if there is none.
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

    with isoklx.sweeps.opening.opened(file, scheduler) as ds:
        written = draw(
            "alive",
            out,
            saving,
            lambda: isoklx.plot.alive(
                of_model(ds, scope.model_contains),
                threshold=threshold,
                calib_tokens=calib_tokens,
                normalize=normalize,
                by=by,
                roll=roll,
                edges=edges,
                distinct=distinct,
                window=scope.window,
                alphas=scope.alphas,
            ),
        )
        say_written(written)


figure: Callable[..., None] = grouped(_figure)
alive: Callable[..., None] = grouped(_alive)
