"""The commands that make, describe, check and convert built files."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from isoklx.cli.explanations import explained_by
from isoklx.errors import DatasetError, UsageError
from isoklx.terminal import printable


@explained_by("isoklx.sweeps.builder.build")
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
    the others are built. Nothing is overwritten by a failed build. A second build parses only the
    cells whose files have changed.

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
        texts=texts,
    )
    print(report)


@explained_by("isoklx.sweeps.opening.opened")
def info(file: Path, *, json: bool = False) -> None:
    """Summarise a file, or a runs root, in one screen.

    Parameters
    ----------
    file : Path
        A built file, or a runs root.
    json : bool
        One JSON document, for a program to read.

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
    """Check a built file: its format, its numbers, and that they match the runs roots.

    One line for each finding, and exit status 1 if there is any. Without --root the file is
    checked by itself: schema, labels, ranges, lengths, flags. With it, also that it has the cells
    of the roots, from files of the same hash, and that every value is what the reader of build
    makes of the JSON.

    Parameters
    ----------
    file : Path
        A file that build wrote.
    root : tuple of Path, optional
        The runs roots that it was built from.

    Examples
    --------
    $ isoklx verify outputs.nc
    $ isoklx verify outputs.nc --root outputs
    $ isoklx verify both.nc --root runs_a,runs_b
    """
    import isoklx.sweeps.verification
    from isoklx.store.formats import is_zarr

    if file.is_dir() and not is_zarr(file):
        raise UsageError(f"{file}: is a folder; give a built file: {_instead_of(file)}")
    findings = isoklx.sweeps.verification.verify(file, root)
    for finding in findings:
        print(printable(finding))
    if findings:
        count = "1 finding" if len(findings) == 1 else f"{len(findings)} findings"
        raise DatasetError(f"{file}: {count}")
    compared = f"compared with {', '.join(map(str, root))}" if root else "not compared with a root"
    print(printable(f"{file}: no finding, {compared}"))


@explained_by("isoklx.sweeps.conversion.convert")
def convert(source: Path, target: Path, force: bool = False) -> None:
    """Convert what build wrote: netCDF to Zarr, or back.

    The result is what build would have written in that format. Zarr needs the extra of that name.

    Examples
    --------
    $ isoklx convert sweep.zarr sweep.nc
    $ isoklx convert sweep.nc sweep.zarr
    """
    import isoklx.store.formats
    import isoklx.sweeps.conversion

    written = isoklx.sweeps.conversion.convert(source, target, force=force)
    print(f"wrote {printable(written)} ({isoklx.store.formats.size(written) / 1e6:.1f} MB)")


def _instead_of(folder: Path) -> str:
    """The command line that was meant by who gave a folder to verify."""
    inside = sorted(folder.glob("*.nc"))
    if inside:
        return f"isoklx verify {inside[0]}"
    root = folder.resolve()
    return f"isoklx verify {folder.parent / root.name}.nc --root {folder}"
