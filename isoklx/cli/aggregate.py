"""The command that does it all: from runs roots to Figure 1 and every table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoklx.cli.drawing import (
    Panels,
    Saving,
    check,
    draw,
    draw_calibration,
    draw_dose_response,
    draw_figure1,
    draw_survival,
    files_of,
)
from isoklx.cli.options import Scope, grouped, of_model_and_side, of_window
from isoklx.cli.outputs import BOTH, FIGS, TABLES, Out, Target, report_written
from isoklx.cli.pages import PAGES, draw_report
from isoklx.errors import BuildError, DatasetError, UsageError
from isoklx.system.terminal import printable

if TYPE_CHECKING:
    import xarray as xr

SEVERAL = "sweep.nc"
"""The built file of several runs roots."""

FILES = {
    "table": TABLES,
    **dict.fromkeys(("contrast", "dose"), TABLES),
    **{
        name: endings
        for figure in ("dose_response", "calibration", "survival")
        for name, endings in files_of(figure, BOTH).items()
    },
    **files_of("alive"),
    "report": PAGES,
}
"""What is written, and the endings that it may have."""


def _aggregate(
    *runs_roots: Path,
    out: Out = FIGS,
    threshold: tuple[float, ...] | None = None,
    spaghetti: bool = False,
    quantile_lines: bool = False,
    report: bool = False,
    scheduler: str | None = None,
    scope: Scope,
    panels: Panels,
    saving: Saving,
) -> None:
    """Build runs roots, and write Figure 1, the headline table and all the rest.

    Writes into the folder OUT, and nothing into the runs roots or beside them: the built file,
    which a later run reuses; the headline and calibration tables, and those of survival, of its
    contrasts between methods, of the safe dose and of what each dose does; Figure 1, and the
    figures of survival, of what each dose does, of trajectories alive and dead, and of the
    calibration. The headline table and the calibration are over all cells; window, model and alphas
    choose what the rest is made of. What lies in OUT from an earlier run under a name of these
    files is named.

    Parameters
    ----------
    *runs_roots : Path
        Folder that holds one folder per cell; several are built into one file. Or one file that
        build wrote, which is taken as it is.
    out : path
        Folder to write to; made if there is none.
    threshold : tuple of float, optional
        Of pmass, in (0, 1], by default 0.75: who is below it at a fork is dead. The figure of alive
        and dead is at the first.
    spaghetti : bool
        The same as --kind spaghetti.
    quantile_lines : bool
        The same as --kind fan.
    report : bool
        Write the page of `isoklx report` as well, and build with --texts for it.
    title : bool
        Leave out the titles of figures.
    scheduler : str, optional
        Address of a dask.distributed scheduler, tcp://HOST:PORT, whose workers parse and compute,
        with RUNS_ROOT and OUT on storage that they see.

    Examples
    --------
    $ isoklx aggregate outputs --out figs
    $ isoklx aggregate runs_a runs_b --window 512 --alphas 0.5,1,2,4 --spaghetti --color_by_pmass
    $ isoklx aggregate --runs_root outputs --quantile_lines --format png,pdf
    $ isoklx aggregate outputs.nc --by method --threshold 0.75,0.95
    $ isoklx aggregate outputs --report
    """
    import isoklx.sweeps.opening

    panels = _of_kind(panels, spaghetti=spaghetti, quantile_lines=quantile_lines)
    target = Target.of(out, ())
    if saving.name is not None:
        raise UsageError(f"--name {saving.name}: is of one figure, and several are written")
    check(saving, target, panels)
    if report:
        from isoklx.report.page import require_report_extra

        require_report_extra()
    said: list[str] = []
    try:
        file = _file(runs_roots, target.folder, scheduler, said, texts=report)
        with isoklx.sweeps.opening.opened(file, scheduler) as ds:
            part = _chosen(ds, scope, panels, threshold)
            parts = _parts(ds, part, target, scope, panels, saving, threshold)
            if report:
                first = None if threshold is None else threshold[0]
                parts["page"] = lambda: draw_report(part, target, threshold=first)
            written = _write(parts, said)
    finally:
        # At the end, for whoever reads may go away at any line of it.
        print(*said, sep="\n", end="\n" * bool(said))
    report_written(target, written, FILES | files_of(panels.stem))


def _file(
    runs_roots: Sequence[Path],
    folder: Path,
    scheduler: str | None,
    said: list[str],
    *,
    texts: bool,
) -> Path:
    """The file to open: the one that was given, or what is built of the roots."""
    import isoklx.sweeps.build
    from isoklx.store.formats import is_zarr

    built = [path for path in runs_roots if path.is_file() or is_zarr(path)]
    if built and len(runs_roots) > 1:
        raise UsageError(f"{built[0]}: is no folder of cells; give runs roots, or one built file")
    if built:
        return built[0]
    out = _target(runs_roots, folder)
    report = isoklx.sweeps.build.build(runs_roots, out, scheduler=scheduler, texts=texts)
    said.append(str(report))
    return report.out


def _write(parts: dict[str, Callable[[], list[Path]]], said: list[str]) -> list[Path]:
    written = []
    for what, write in parts.items():
        try:
            written += write()
        except DatasetError as error:
            # A sweep without KL, or without pmass, still has the rest.
            said.append(f"no {what}: {printable(error)}")
    return written


def _parts(
    ds: xr.Dataset,
    part: xr.Dataset,
    target: Target,
    scope: Scope,
    panels: Panels,
    saving: Saving,
    threshold: Sequence[float] | None,
) -> dict[str, Callable[[], list[Path]]]:
    """What is written, in this order."""
    import isoklx.plot
    from isoklx.tables import captioned
    from isoklx.tables.saving import write_table

    by = None if panels.by is None else (panels.by,)
    choice: dict[str, Any] = {"threshold": threshold, "distinct": panels.distinct}
    of_doses = choice if by is None else choice | {"by": by}
    folder = target.folder

    def alive() -> xr.plot.FacetGrid[xr.Dataset]:
        shared = ("by", "roll", "edges", "distinct")
        options: dict[str, Any] = {name: getattr(panels, name) for name in shared}
        options["window"] = scope.window
        if threshold is not None:
            options["threshold"] = threshold[0]
        return isoklx.plot.alive(part, **options, **saving.page)

    contrasts = {
        "contrast table": lambda: write_table(
            captioned.contrast(part, **choice), folder, "contrast"
        )
    }
    if len(set(part["method"].values.tolist())) < 2:
        contrasts = {}  # nothing to compare
    return {
        "headline table": lambda: write_table(captioned.headline(ds), folder, "table"),
        "calibration table": lambda: write_table(captioned.calibration(ds), folder, "calibration"),
        "survival table": lambda: write_table(
            captioned.survival(part, by=by, **choice), folder, "survival"
        ),
        **contrasts,
        "dose table": lambda: write_table(captioned.dose(part, **of_doses), folder, "dose"),
        "dose response table": lambda: write_table(
            captioned.response(part, **of_doses), folder, "dose_response"
        ),
        "figure 1": lambda: draw_figure1(part, target, scope, panels, saving),
        "survival figure": lambda: draw_survival(part, target, saving, by=by, **choice),
        "dose response figure": lambda: draw_dose_response(part, target, saving, **of_doses),
        "alive figure": lambda: draw("alive", target, saving, alive),
        "calibration figure": lambda: draw_calibration(ds, target, saving),
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


def _target(runs_roots: Sequence[Path], out: Path) -> Path:
    """The built file, in the folder of all that is written."""
    folder = out.resolve()
    for runs_root in runs_roots:
        root = runs_root.resolve()
        if folder == root or root in folder.parents:
            raise UsageError(
                f"{out}: is in the runs root, which stays as it is; choose another --out"
            )
        if not root.is_dir():
            raise BuildError(f"{runs_root}: there is no such folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BuildError(f"{out}: cannot be made a folder: {error.strerror}") from error
    return out / (f"{runs_roots[0].resolve().name}.nc" if len(runs_roots) == 1 else SEVERAL)


def _chosen(
    ds: xr.Dataset, scope: Scope, panels: Panels, threshold: Sequence[float] | None
) -> xr.Dataset:
    """What is drawn; a mistake in choosing it is found before anything but the file is written."""
    from isoklx.plot.axes import check_mark
    from isoklx.plot.scope import in_scope, split
    from isoklx.stats.endpoint import checked_thresholds
    from isoklx.stats.selection import select_alphas

    checked_thresholds("pmass_eval", threshold)
    part = of_model_and_side(ds, scope)
    in_window = of_window(part, scope.window)
    with suppress(DatasetError):  # without KL there is no window and no dose to choose
        drawn = in_scope(part, window=scope.window, alphas=scope.alphas)
        split(drawn, [each for each in (panels.by, panels.hue) if each is not None])
        if panels.mark_t is not None:
            check_mark(int(drawn["window"].max()), panels.mark_t)
    if scope.alphas is None or not in_window.sizes["alpha"]:
        return in_window
    return select_alphas(in_window, scope.alphas).drop_duplicates("alpha")


aggregate: Callable[..., None] = grouped(_aggregate)
