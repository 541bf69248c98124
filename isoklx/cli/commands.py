"""Labelled arrays, tables and figures from a folder of iso-KL steering calibration runs.

Examples
--------
$ isoklx aggregate outputs --out figs
$ isoklx build runs_a runs_b --out both.nc --window 512 --strict
$ isoklx figure both.nc --kind spaghetti --color_by_pmass
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from isoklx.cli.aggregate import aggregate
from isoklx.cli.convert import convert
from isoklx.cli.figures import alive, figure
from isoklx.cli.tables import calibration, survival, table
from isoklx.cli.verify import verify


def build(
    *roots: Path,
    out: Path | None = None,
    window: int | None = None,
    model_contains: str = "",
    dtype: Literal["float32", "float64"] = "float32",
    strict: bool = False,
    jobs: int | None = None,
    force: bool = False,
    scheduler: str | None = None,
) -> None:
    """Read every cell under ROOT and write one labelled netCDF file, or a Zarr store.

    A cell that cannot be read (half written, or broken) is reported by name, file and reason, and
    the others are built. Nothing is overwritten by a failed build. A second build parses only the
    cells whose files have changed.

    Parameters
    ----------
    *roots : Path
        Folder that holds one folder per cell. Several are read into one file.
    out : Path, optional
        File to write, ending in .nc, or folder, ending in .zarr. Without it, ROOT.nc beside ROOT;
        needed for several roots.
    window : int, optional
        Read only the cells of this window, in tokens.
    model_contains : str
        Read only the cells whose model's name contains this.
    dtype : {"float32", "float64"}
        Precision of KL and pmass. float32 holds exactly what the runs computed.
    strict : bool
        Fail, and write nothing, if any cell has to be skipped.
    jobs : int, optional
        Processes that parse. Without it, one per core.
    force : bool
        Let what is at OUT not matter: parse every cell, and replace it, whoever wrote it. Without
        it, only what build or convert wrote is replaced.
    scheduler : str, optional
        Address of a dask.distributed scheduler, tcp://HOST:PORT, whose workers parse the cells and
        write the Zarr store, all on storage that every one of them sees.

    Examples
    --------
    $ isoklx build outputs
    $ isoklx build runs_a runs_b --out both.nc
    $ isoklx build outputs --window 512 --model_contains Qwen --strict
    $ isoklx build outputs --out sweep.zarr --scheduler tcp://node01:8786
    """
    import isoklx.sweeps.builder

    report = isoklx.sweeps.builder.build(
        roots,
        out,
        window=window,
        model_contains=model_contains,
        dtype=dtype,
        strict=strict,
        jobs=jobs,
        force=force,
        scheduler=scheduler,
    )
    print(report)


def info(file: Path) -> None:
    """Say in a screenful what a file, or a runs root, holds.

    Parameters
    ----------
    file : Path
        A file that build wrote, or a runs root.

    Examples
    --------
    $ isoklx info outputs.nc
    """
    import isoklx.tables.describe

    print(isoklx.tables.describe.describe(file))


COMMANDS: dict[str, Callable[..., None]] = {
    "build": build,
    "info": info,
    "table": table,
    "figure": figure,
    "alive": alive,
    "survival": survival,
    "calibration": calibration,
    "aggregate": aggregate,
    "verify": verify,
    "convert": convert,
}
"""The commands by name, in the order of the help."""
