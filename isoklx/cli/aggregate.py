"""The command that does it all: from a runs root to Figure 1 and every table."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoklx.cli.drawing import (
    Panels,
    Saving,
    Scope,
    check,
    draw,
    draw_calibration,
    draw_figure1,
    draw_survival,
    of_model,
    say_written,
)
from isoklx.cli.option_groups import grouped
from isoklx.errors import BuildError, DatasetError, UsageError
from isoklx.terminal import printable

if TYPE_CHECKING:
    import xarray as xr


def _aggregate(
    runs_root: Path,
    *,
    out: Path = Path("figs"),
    spaghetti: bool = False,
    quantile_lines: bool = False,
    threshold: tuple[float, ...] | None = None,
    scheduler: str | None = None,
    scope: Scope,
    panels: Panels,
    saving: Saving,
) -> None:
    """Build a runs root, and write Figure 1, the headline table and all the rest.

    Writes into the folder OUT, and nothing into the runs root or beside it: the built file, which a
    later run reuses; the headline and calibration tables, and those of survival, of its contrasts
    between methods, of the safe dose and of what each dose does; Figure 1, and the figures of
    survival, of trajectories alive and dead, and of the calibration. The headline table and the
    calibration are over all cells; window, model and alphas choose what the rest is made of. Rows
    of panels (--by) are those of Figure 1 and of the figure of alive and dead.

    Parameters
    ----------
    runs_root : Path
        Folder that holds one folder per cell.
    out : Path
        Folder to write to; made if there is none.
    spaghetti : bool
        The same as --kind spaghetti.
    quantile_lines : bool
        The same as --kind fan.
    threshold : tuple of float, optional
        pmass below which a trajectory is dead, 0.75 by default; that of the figure of alive and
        dead is the first.
    scheduler : str, optional
        Address of a dask.distributed scheduler, tcp://HOST:PORT, whose workers parse and compute,
        with RUNS_ROOT and OUT on storage that they see.

    Examples
    --------
    $ isoklx aggregate outputs --out figs
    $ isoklx aggregate outputs --window 512 --alphas 0.5,1,2,4 --spaghetti --color_by_pmass
    $ isoklx aggregate --runs_root outputs --quantile_lines --format png,pdf
    """
    import isoklx.sweeps.builder
    import isoklx.sweeps.opening

    panels = _of_kind(panels, spaghetti=spaghetti, quantile_lines=quantile_lines)
    check(panels, saving)
    report = isoklx.sweeps.builder.build(runs_root, _target(runs_root, out), scheduler=scheduler)
    print(report)
    with isoklx.sweeps.opening.opened(report.out, scheduler) as ds:
        chosen = _chosen(ds, scope, panels.mark_t)
        parts = _parts(ds, chosen, out, threshold, scope, panels, saving)
        for what, write in parts.items():
            try:
                say_written(write())
            except DatasetError as error:
                # A sweep without KL, or without pmass, still has the rest.
                print(f"no {what}: {printable(error)}")


def _parts(
    ds: xr.Dataset,
    chosen: xr.Dataset,
    out: Path,
    threshold: tuple[float, ...] | None,
    scope: Scope,
    panels: Panels,
    saving: Saving,
) -> dict[str, Callable[[], list[Path]]]:
    """What is written, in this order."""
    import isoklx.plot
    from isoklx.plot.alive import THRESHOLD
    from isoklx.tables import captioned
    from isoklx.tables.files import write_table

    choice: dict[str, Any] = {"threshold": threshold, "distinct": panels.distinct}

    def alive() -> xr.plot.FacetGrid[xr.DataArray]:
        return isoklx.plot.alive(
            chosen,
            window=scope.window,
            by=panels.by,
            roll=panels.roll,
            edges=panels.edges,
            distinct=panels.distinct,
            threshold=THRESHOLD if threshold is None else threshold[0],
        )

    contrasts = {
        "contrast table": lambda: write_table(captioned.contrast(chosen, **choice), out, "contrast")
    }
    if len(set(chosen["method"].values.tolist())) < 2:
        contrasts = {}  # nothing to compare
    return {
        "headline table": lambda: write_table(captioned.headline(ds), out, "table"),
        "calibration table": lambda: write_table(captioned.calibration(ds), out, "calibration"),
        "survival table": lambda: write_table(
            captioned.survival(chosen, **choice), out, "survival"
        ),
        **contrasts,
        "dose table": lambda: write_table(captioned.dose(chosen, **choice), out, "dose"),
        "dose response table": lambda: write_table(
            captioned.response(chosen, **choice), out, "dose_response"
        ),
        "figure 1": lambda: draw_figure1(chosen, out, scope, panels, saving),
        "survival figure": lambda: draw_survival(chosen, out, saving, **choice),
        "alive figure": lambda: draw("alive", out, saving, alive),
        "calibration figure": lambda: draw_calibration(ds, out, saving),
    }


def _of_kind(panels: Panels, *, spaghetti: bool, quantile_lines: bool) -> Panels:
    """What the flags of older scripts mean."""
    if spaghetti and quantile_lines:
        raise UsageError("--spaghetti and --quantile_lines are two kinds of one figure; give one")
    if (spaghetti or quantile_lines) and panels.kind != "band":
        raise UsageError(f"--kind {panels.kind} says already what the figure is; give no other")
    if spaghetti:
        return replace(panels, kind="spaghetti")
    return replace(panels, kind="fan") if quantile_lines else panels


def _target(runs_root: Path, out: Path) -> Path:
    """The built file, in the folder of all that is written."""
    root, folder = runs_root.resolve(), out.resolve()
    if folder == root or root in folder.parents:
        raise UsageError(f"{out}: is in the runs root, which stays as it is; choose another --out")
    if not root.is_dir():
        raise BuildError(f"{runs_root}: there is no such folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BuildError(f"{out}: cannot be made a folder: {error.strerror}") from error
    return out / f"{root.name}.nc"


def _chosen(ds: xr.Dataset, scope: Scope, mark_t: int | None) -> xr.Dataset:
    """What is drawn; a mistake in choosing it is found before anything but the file is written."""
    import numpy as np

    from isoklx.plot.reference_lines import check_mark
    from isoklx.plot.scope import in_scope
    from isoklx.stats.selection import select_alphas

    chosen = of_model(ds, scope.model_contains)
    windows = np.unique(chosen["window"].values)
    if scope.window is not None and scope.window not in windows:
        raise UsageError(
            f"--window {scope.window}: no cell has it; there is {', '.join(map(str, windows))}"
        )
    with suppress(DatasetError):  # without KL there is no window and no dose to choose
        drawn = in_scope(chosen, window=scope.window, alphas=scope.alphas)
        if mark_t is not None:
            check_mark(drawn, mark_t)
    if scope.window is not None:
        chosen = chosen.isel(cell=chosen["window"].values == scope.window)
    if scope.alphas is None or not chosen.sizes["alpha"]:
        return chosen
    return select_alphas(chosen, scope.alphas)


aggregate: Callable[..., None] = grouped(_aggregate)
