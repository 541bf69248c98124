"""The command ``aggregate``: build runs roots and write every figure and table."""

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
    figure_files,
)
from isoklx.cli.options import Scope, grouped, select_model_and_side, select_window
from isoklx.cli.outputs import BOTH, FIGS, TABLES, Out, Target, report_written
from isoklx.cli.pages import PAGES, draw_report
from isoklx.errors import BuildError, DatasetError, UsageError
from isoklx.system.terminal import printable

if TYPE_CHECKING:
    import xarray as xr

SEVERAL = "sweep.nc"
"""Name of the file built from several runs roots."""

FILES = {
    "table": TABLES,
    **dict.fromkeys(("contrast", "dose"), TABLES),
    **{
        name: endings
        for figure in ("dose_response", "calibration", "survival")
        for name, endings in figure_files(figure, BOTH).items()
    },
    **figure_files("alive"),
    "report": PAGES,
}
"""Names of the files written, with their possible endings."""


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
    """Build runs roots, then write Figure 1, the headline table and all other results.

    Writes only into the folder OUT: the built file, which a later run reuses; tables of the
    calibrated coefficients, the calibration, survival, its contrasts between methods, the safe dose
    and the effects of each dose; Figure 1, and figures of survival, dose response, trajectories
    alive and dead, and the calibration. The headline table and the calibration cover all cells;
    --window, --model_contains, --sign and --alphas select the data for the rest. Files in OUT that
    an earlier run left under one of these names are listed.

    Parameters
    ----------
    *runs_roots : Path
        Folder that holds one folder per cell; several are built into one file. Or one built file,
        which is used as it is.
    out : path
        Output folder; created if absent.
    threshold : tuple of float, optional
        pmass threshold in (0, 1], 0.75 by default: a trajectory below it at a fork is dead. The
        figure of alive and dead trajectories uses the first one.
    spaghetti : bool
        The same as --kind spaghetti.
    quantile_lines : bool
        The same as --kind fan.
    report : bool
        Also write the page of `isoklx report`, and build with --texts for it.
    title : bool
        Leave out the titles of figures.
    scheduler : str, optional
        Address of a dask.distributed scheduler, tcp://HOST:PORT. Its workers parse and compute, and
        must see RUNS_ROOT and OUT under the same paths.

    Examples
    --------
    $ isoklx aggregate outputs --out figs
    $ isoklx aggregate runs_a runs_b --window 512 --alphas 0.5,1,2,4 --spaghetti --color_by_pmass
    $ isoklx aggregate --runs_root outputs --quantile_lines --format png,pdf
    $ isoklx aggregate outputs.nc --by method --threshold 0.75,0.95
    $ isoklx aggregate outputs --report
    """
    import isoklx.sweeps.opening

    panels = _with_kind(panels, spaghetti=spaghetti, quantile_lines=quantile_lines)
    target = Target.of(out, ())
    if saving.name is not None:
        raise UsageError(f"--name {saving.name} needs a single figure; aggregate writes several")
    check(saving, target, panels)
    if report:
        from isoklx.report.page import require_report_extra

        require_report_extra()
    messages: list[str] = []
    try:
        file = _built_file(runs_roots, target.folder, scheduler, messages, texts=report)
        with isoklx.sweeps.opening.opened(file, scheduler) as ds:
            part = _selected(ds, scope, panels, threshold)
            parts = _parts(ds, part, target, scope, panels, saving, threshold)
            if report:
                first = None if threshold is None else threshold[0]
                parts["page"] = lambda: draw_report(part, target, threshold=first)
            written = _write(parts, messages)
    finally:
        # Print last: the reader of a pipe may close it at any line.
        print(*messages, sep="\n", end="\n" * bool(messages))
    report_written(target, written, FILES | figure_files(panels.stem))


def _built_file(
    runs_roots: Sequence[Path],
    folder: Path,
    scheduler: str | None,
    messages: list[str],
    *,
    texts: bool,
) -> Path:
    """Return the built file: the one given, or the one built from the roots."""
    import isoklx.sweeps.build
    from isoklx.store.formats import is_zarr

    built = [path for path in runs_roots if path.is_file() or is_zarr(path)]
    if built and len(runs_roots) > 1:
        raise UsageError(f"{built[0]}: not a folder of cells; give runs roots, or one built file")
    if built:
        return built[0]
    out = _build_path(runs_roots, folder)
    report = isoklx.sweeps.build.build(runs_roots, out, scheduler=scheduler, texts=texts)
    messages.append(str(report))
    return report.out


def _write(parts: dict[str, Callable[[], list[Path]]], messages: list[str]) -> list[Path]:
    written = []
    for name, write in parts.items():
        try:
            written += write()
        except DatasetError as error:
            # A sweep without KL or pmass still has the other results.
            messages.append(f"no {name}: {printable(error)}")
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
    """Return the functions that write each result, by name, in order."""
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
        contrasts = {}  # a single method has nothing to be compared with
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


def _with_kind(panels: Panels, *, spaghetti: bool, quantile_lines: bool) -> Panels:
    """Translate the flags of older scripts into a kind."""
    if spaghetti and quantile_lines:
        raise UsageError("--spaghetti and --quantile_lines exclude each other; give one")
    if (spaghetti or quantile_lines) and panels.kind != "band":
        raise UsageError(
            f"--kind {panels.kind} excludes --spaghetti and --quantile_lines; give one"
        )
    if spaghetti:
        return replace(panels, kind="spaghetti")
    return replace(panels, kind="fan") if quantile_lines else panels


def _build_path(runs_roots: Sequence[Path], out: Path) -> Path:
    """Return the path of the built file, inside the output folder."""
    folder = out.resolve()
    for runs_root in runs_roots:
        root = runs_root.resolve()
        if folder == root or root in folder.parents:
            raise UsageError(
                f"{out}: is inside the runs root, which must not change; choose another --out"
            )
        if not root.is_dir():
            raise BuildError(f"{runs_root}: folder not found")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BuildError(f"{out}: cannot create the folder: {error.strerror}") from error
    return out / (f"{runs_roots[0].resolve().name}.nc" if len(runs_roots) == 1 else SEVERAL)


def _selected(
    ds: xr.Dataset, scope: Scope, panels: Panels, threshold: Sequence[float] | None
) -> xr.Dataset:
    """Return the part to draw; refuse wrong options before anything but the file is written."""
    from isoklx.plot.axes import check_mark
    from isoklx.plot.scope import in_scope, split
    from isoklx.stats.endpoint import checked_thresholds
    from isoklx.stats.selection import select_alphas

    checked_thresholds("pmass_eval", threshold)
    part = select_model_and_side(ds, scope)
    in_window = select_window(part, scope.window)
    with suppress(DatasetError):  # a sweep without KL has no window or dose to select
        drawn = in_scope(part, window=scope.window, alphas=scope.alphas)
        split(drawn, [each for each in (panels.by, panels.hue) if each is not None])
        if panels.mark_t is not None:
            check_mark(int(drawn["window"].max()), panels.mark_t)
    if scope.alphas is None or not in_window.sizes["alpha"]:
        return in_window
    return select_alphas(in_window, scope.alphas).drop_duplicates("alpha")


aggregate: Callable[..., None] = grouped(_aggregate)
