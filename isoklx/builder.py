"""Build one labelled file from runs roots, and report what was read and what was not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from isoklx import store
from isoklx.cells import Choice
from isoklx.errors import BuildError, CellError, UsageError
from isoklx.provenance import global_attributes
from isoklx.reading import read_roots
from isoklx.sweep import assemble


@dataclass(frozen=True)
class Report:
    """What a build read, skipped and wrote; printed, it is the text for a person.

    Parameters
    ----------
    out : Path
        The file that was written.
    read : tuple of str
        ``run_id`` of every cell in it, ascending.
    skipped : tuple of CellError
        Cells that could not be read: folder, file and reason.
    notes : tuple of str
        What to know about cells that were read: a stale file, a value that float32 rounds.
    """

    out: Path
    read: tuple[str, ...]
    skipped: tuple[CellError, ...]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"read {_cells(len(self.read))}"]
        lines += [f"note: {note}" for note in self.notes]
        lines += [f"skipped: {error}" for error in self.skipped]
        if self.skipped:
            lines.append(f"skipped {_cells(len(self.skipped))}, the rest is built")
        megabytes = self.out.stat().st_size / 1e6
        return "\n".join([*lines, f"wrote {self.out} ({megabytes:.1f} MB)"])


def build(
    roots: str | Path | Iterable[str | Path],
    out: str | Path | None = None,
    *,
    window: int | None = None,
    model_contains: str = "",
    dtype: Literal["float32", "float64"] = "float32",
    strict: bool = False,
) -> Report:
    """Read every cell under the runs roots and write one labelled netCDF-4 file.

    Parameters
    ----------
    roots : path or iterable of paths
        Folders with one folder per cell.
    out : path, optional
        The file to write, ending in ``.nc``. By default ``ROOT.nc`` beside a single root.
    window : int, optional
        Only cells of this window, in tokens.
    model_contains : str
        Only cells whose ``model`` contains this text; case counts.
    dtype : {"float32", "float64"}
        Storage of ``kl``, ``pmass_eval``, ``pmass`` and ``p_true``. float32 holds what models
        measure exactly; the report names every value for which it does not.
    strict : bool
        Write nothing and fail if any cell cannot be read.

    Returns
    -------
    Report
        Cells read, cells skipped and why.

    Raises
    ------
    BuildError
        When there is no cell, two share a name, a cell cannot be read and `strict` is set, or
        the file cannot be written. What was at `out` before is untouched.
    UsageError
        When `out` is no possible target.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     report = build("data/sample", Path(folder) / "sample.nc")
    >>> len(report.read), report.skipped
    (12, ())
    """
    folders = [Path(root) for root in ([roots] if isinstance(roots, str | Path) else roots)]
    target = _target(folders, None if out is None else Path(out))
    reading = read_roots(folders, choice=Choice(window, model_contains), dtype=dtype)
    if strict and reading.skipped:
        reasons = "; ".join(map(str, reading.skipped))
        raise BuildError(
            f"nothing written: {_cells(len(reading.skipped))} cannot be read: {reasons}"
        )
    ds = assemble(reading.cells)
    store.write(ds.assign_attrs(global_attributes(ds, folders)), target)
    return Report(
        target,
        tuple(str(cell.labels["run_id"]) for cell in reading.cells),
        reading.skipped,
        tuple(f"{cell.folder / note}" for cell in reading.cells for note in cell.notes),
    )


def _target(roots: list[Path], out: Path | None) -> Path:
    """Where to write; a mistake is found before anything is read."""
    if not roots:
        raise UsageError("no runs root was given")
    if out is None:
        if len(roots) > 1:
            raise UsageError("several runs roots have no common default: name the file with --out")
        root = roots[0].resolve()
        out = root.with_name(f"{root.name}.nc")
    if out.suffix != store.SUFFIX:
        raise UsageError(f"{out}: the file's name must end in {store.SUFFIX}")
    if out.is_dir():
        raise UsageError(f"{out}: is a folder; the file needs a name of its own")
    if not out.parent.is_dir():
        raise UsageError(f"{out}: there is no folder {out.parent}")
    return out


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"
