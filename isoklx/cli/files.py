"""The commands that build, describe, verify, convert and simulate sweeps."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from isoklx.cli.help import explained_by
from isoklx.errors import DatasetError, UsageError
from isoklx.system.terminal import printable


@explained_by("isoklx.sweeps.build.build")
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
    texts: bool = False,
) -> None:
    """Read every cell under ROOT and write one labelled netCDF file, or a Zarr store.

    A cell that cannot be read (half written, or broken) is reported by name, file and reason, and
    the others are built. A failed build overwrites nothing. A second build parses only the cells
    whose files have changed.

    Parameters
    ----------
    *roots : Path
        Folder that holds one folder per cell. Several are read into one file.

    Examples
    --------
    $ isoklx build outputs
    $ isoklx build runs_a runs_b --out both.nc
    $ isoklx build outputs --window 512 --model_contains Qwen --strict
    $ isoklx build outputs --texts
    $ isoklx build outputs --out sweep.zarr --scheduler tcp://node01:8786
    """
    import isoklx.sweeps.build

    report = isoklx.sweeps.build.build(
        roots,
        out,
        window=window,
        model_contains=model_contains,
        dtype=dtype,
        strict=strict,
        jobs=jobs,
        force=force,
        scheduler=scheduler,
        texts=texts,
    )
    print(report)


@explained_by("isoklx.sweeps.opening.opened")
def info(file: Path, *, json: bool = False) -> None:
    """Summarise a built file or a runs root on one screen.

    Parameters
    ----------
    file : Path
        A built file, or a runs root.
    json : bool
        Print one JSON document, for other programs.

    Examples
    --------
    $ isoklx info outputs.nc
    $ isoklx info outputs.nc --json
    """
    from isoklx.tables.describe import describe, described

    if json:
        from json import dumps

        print(dumps(described(file), indent=1))
    else:
        print(describe(file))


def verify(file: Path, *, root: tuple[Path, ...] = ()) -> None:
    """Verify a built file, by itself or against its runs roots, or the cells of a runs root.

    Prints one line per finding; the exit status is 1 if there are findings. Without --root, a file
    is checked by itself: schema, labels, ranges, lengths, flags. With --root, verify also checks
    that the file has the cells of the roots, built from files with the same hashes, and that every
    value equals what build reads from the JSON. Cells in folders must be readable, come from one
    run, have the same prompts at every dose and hold the recorded vector. No model runs; recheck
    recomputes the numbers.

    Parameters
    ----------
    file : Path
        A built file, a runs root, or the folder of one cell.
    root : tuple of Path, optional
        Runs roots that the file was built from.

    Examples
    --------
    $ isoklx verify outputs.nc
    $ isoklx verify outputs
    $ isoklx verify outputs.nc --root outputs
    $ isoklx verify both.nc --root runs_a,runs_b
    """
    import isoklx.sweeps.verification
    from isoklx.cells.layout import CALIBRATION
    from isoklx.store.formats import is_zarr

    in_folder = file.is_dir() and not is_zarr(file)
    if in_folder and not {*file.glob(CALIBRATION), *file.glob(f"*/{CALIBRATION}")}:
        for built in sorted(file.glob("*.nc")):
            raise UsageError(
                f"{file}: contains no cells; verify a built file instead: isoklx verify {built}"
            )
    findings = isoklx.sweeps.verification.verify(file, root)
    for finding in findings:
        print(printable(finding))
    if findings:
        count = "1 finding" if len(findings) == 1 else f"{len(findings)} findings"
        raise DatasetError(f"{file}: {count}")
    if in_folder:
        compared = "no model was run: isoklx recheck CELL computes a cell's numbers again"
    else:
        compared = (
            f"compared with {', '.join(map(str, root))}" if root else "not compared with a root"
        )
    print(printable(f"{file}: no finding, {compared}"))


@explained_by("isoklx.sweeps.build.convert")
def convert(source: Path, target: Path, force: bool = False) -> None:
    """Convert a built file from netCDF to Zarr, or back.

    The result is the same as a build in that format. Zarr needs the extra `isoklx[zarr]`.

    Examples
    --------
    $ isoklx convert sweep.zarr sweep.nc
    $ isoklx convert sweep.nc sweep.zarr
    """
    import isoklx.store.formats
    import isoklx.sweeps.build

    written = isoklx.sweeps.build.convert(source, target, force=force)
    print(f"wrote {printable(written)} ({isoklx.store.formats.size(written) / 1e6:.1f} MB)")


def simulate(root: Path, *, window: int = 64, prompts: int = 8, seed: int = 0) -> None:
    """Write a simulated sweep of two models and three methods, to try the other commands on.

    Twelve cells with two seeds, in the format of measured cells, texts included. Seed 1 of method
    pca repeats seed 0 to the byte, as greedy decoding does. Nothing in it was measured, and the
    models' names say so.

    Parameters
    ----------
    root : Path
        Folder for the cells, created if absent; it may contain only simulated cells.
    window : int
        Tokens per rollout.
    prompts : int
        Held-out prompts per cell.
    seed : int
        Random seed; the same seed gives the same bytes.

    Examples
    --------
    $ isoklx simulate outputs
    $ isoklx simulate large --window 512 --prompts 32
    """
    import isoklx.simulation.sweep

    _refuse_others(root)
    cells = isoklx.simulation.sweep.sample(window=window, prompts=prompts)
    folders = isoklx.simulation.sweep.simulate(root, cells, seed=seed)
    print(printable(f"{len(folders)} simulated cells in {root}"))


def _refuse_others(root: Path) -> None:
    """Refuse a folder with other files: simulated cells would be counted as measured."""
    if root.exists() and not root.is_dir():
        raise UsageError(f"{root}: is a file, not a folder")
    others = [
        entry.name
        for entry in root.glob("*")
        if entry.name[0] != "." and not entry.name.startswith("simulated-")
    ]
    if others:
        raise UsageError(f"{root}: contains {min(others)}; give a folder for simulated cells only")
