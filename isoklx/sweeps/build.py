"""Build one labelled file from runs roots, and report what was read and what was not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from isoklx.cells.reading import Cell, Choice
from isoklx.errors import BuildError, CellError, UsageError
from isoklx.store import formats
from isoklx.store.known_cells import known_cells, stored_cells
from isoklx.store.provenance import DATED, SKIPPED, global_attributes
from isoklx.sweeps.reading import Reading, read_roots
from isoklx.system.atomic import workspace
from isoklx.system.paths import as_path, as_paths
from isoklx.system.scheduler import connected
from isoklx.system.terminal import printable

if TYPE_CHECKING:
    from distributed import Client

    from isoklx.store.zarr import WriteBlocks


@dataclass(frozen=True)
class Report:
    """What a build read, skipped and wrote; printed, it is the text for a person.

    Parameters
    ----------
    out : Path
        The file that was written.
    read : tuple of str
        ``run_id`` of every cell in it, ascending.
    unchanged : tuple of str
        Those among them that were in the file already and did not have to be parsed again.
    skipped : tuple of CellError
        Cells that could not be read: folder, file and reason.
    notes : tuple of str
        What to know about cells that were read: a stale file, a value that float32 rounds.
    written : bool
        False when the file was up to date, and left as it was.
    """

    out: Path
    read: tuple[str, ...]
    unchanged: tuple[str, ...]
    skipped: tuple[CellError, ...]
    notes: tuple[str, ...]
    written: bool

    def __str__(self) -> str:
        parsed = len(self.read) - len(self.unchanged)
        lines = [
            f"read {_cells(parsed)}" + f", {len(self.unchanged)} unchanged" * bool(self.unchanged)
        ]
        # Names of folders and values in JSON are other people's text.
        lines += [f"note: {printable(note)}" for note in self.notes]
        lines += [f"skipped: {printable(error)}" for error in self.skipped]
        if self.skipped:
            lines.append(f"skipped {_cells(len(self.skipped))}, the rest is built")
        megabytes = formats.size(self.out) / 1e6
        verb = "wrote" if self.written else "kept"
        return "\n".join([*lines, f"{verb} {printable(self.out)} ({megabytes:.1f} MB)"])


def build(
    roots: str | Path | Iterable[str | Path],
    out: str | Path | None = None,
    *,
    window: int | None = None,
    model_contains: str = "",
    dtype: Literal["float32", "float64"] = "float32",
    strict: bool = False,
    jobs: int | None = None,
    force: bool = False,
    scheduler: str | None = None,
    texts: bool = False,
) -> Report:
    """Read every cell under the runs roots and write one labelled netCDF-4 file or Zarr store.

    Cells that the file holds already, from files of the same content, are taken over and not
    parsed again; the result is the one of a build from scratch.

    Parameters
    ----------
    roots : path or iterable of paths
        Folders with one folder per cell.
    out : path, optional
        What to write: a netCDF file, ending in ``.nc``, or a Zarr store, ending in ``.zarr``. By
        default ``ROOT.nc`` beside a single root. Of a symbolic link, what it points to is replaced.
    window : int, optional
        Only cells of this window, in tokens.
    model_contains : str
        Only cells whose ``model`` contains this text; case counts.
    dtype : {"float32", "float64"}
        Storage of ``kl``, ``pmass_eval``, ``pmass`` and ``p_true``. float32 holds what models
        measure exactly; the report names every value for which it does not.
    strict : bool
        Write nothing and fail if any cell cannot be read.
    jobs : int, optional
        Processes that parse; by default one per core.
    force : bool
        Ignore the contents of `out`: parse every cell again, and replace `out` whatever program
        wrote it. Otherwise only the output of a build or a conversion is replaced.
    scheduler : str, optional
        Address of a dask.distributed scheduler, as ``tcp://HOST:PORT``, whose workers parse the
        cells and write a Zarr store (a netCDF file is written here). Roots and `out` are on
        storage that all of them see under the same names.
    texts : bool
        Store what was said as well, out of each cell's ``gens.jsonl``: ``prompt_text``,
        ``gen_text``, and ``token_chars``, which divides the text among its tokens. What is missing
        or broken there is a note.

    Returns
    -------
    Report
        Cells read, cells skipped and why.

    Raises
    ------
    BuildError
        When there is no cell, two share a name, a cell cannot be read and `strict` is set, no
        scheduler answers, or the file cannot be written. What was at `out` before is untouched.
    UsageError
        When `out` is no possible target, holds what `isoklx.build` did not write, or needs a
        package that is not installed.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     report = build("data/sample", Path(folder) / "sample.nc")
    >>> len(report.read), report.skipped
    (12, ())
    """
    if jobs is not None and jobs < 1:
        raise UsageError(f"jobs is {jobs}; give at least 1")
    if jobs is not None and scheduler is not None:
        raise UsageError("jobs are of this machine, and a scheduler has its own; give one of both")
    folders = as_paths(roots)
    target = _target(folders, None if out is None else as_path(out), force)
    if scheduler is not None:
        folders, target = [folder.absolute() for folder in folders], target.absolute()
    with (
        _connected(scheduler) as client,
        _known(target, dtype, texts, force) as (known, before),
        workspace(target) as spool,
    ):
        reading = read_roots(
            folders,
            spool,
            choice=Choice(window, model_contains),
            dtype=dtype,
            jobs=jobs,
            known=known,
            client=client,
            texts=texts,
        )
        if strict and reading.skipped:
            reasons = "; ".join(map(str, reading.skipped))
            count = _cells(len(reading.skipped))
            raise BuildError(f"nothing written: {count} cannot be read: {reasons}")
        attributes = global_attributes(reading.cells, folders, reading.skipped)
        written = _differs(reading, known, attributes, before)
        if written:
            formats.write(reading.cells, target, attributes, _at(client))
    return Report(
        out=target,
        read=tuple(str(cell.labels["run_id"]) for cell in reading.cells),
        unchanged=tuple(reading.reused),
        skipped=tuple(reading.skipped),
        notes=tuple(f"{cell.folder / note}" for cell in reading.cells for note in cell.notes),
        written=written,
    )


def _connected(scheduler: str | None) -> AbstractContextManager[Client | None]:
    return nullcontext() if scheduler is None else connected(scheduler)


def _at(client: Client | None) -> WriteBlocks | None:
    """What writes blocks at a scheduler, if there is one."""
    if client is None:
        return None
    from isoklx.sweeps.distributed import write_on  # needs the extra

    return partial(write_on, client)


def _known(
    target: Path, dtype: str, texts: bool, force: bool
) -> AbstractContextManager[tuple[dict[str, Cell], dict[str, Any]]]:
    return nullcontext(({}, {})) if force else known_cells(target, dtype, texts=texts)


def _differs(
    reading: Reading,
    known: Mapping[str, Cell],
    attributes: Mapping[str, object],
    before: Mapping[str, object],
) -> bool:
    """Whether a new file would differ from the one that is there in more than its dates."""
    if any(reading.reused.values()) or known.keys() != reading.reused.keys():
        return True
    if len(reading.cells) > len(reading.reused):
        return True
    names = {*attributes, SKIPPED} - {*DATED}
    return any(before.get(name) != attributes.get(name) for name in names)


def _target(roots: list[Path], out: Path | None, force: bool) -> Path:
    """Where to write; a mistake is found before anything is read."""
    if not roots:
        raise UsageError("no runs root was given")
    if out is None:
        if len(roots) > 1:
            raise UsageError("several runs roots have no common default: name the file with --out")
        out = _beside(roots[0])
    formats.check_target(out, force=force)
    return out


def _beside(root: Path) -> Path:
    """ROOT.nc beside a root: beside the link, if it is one."""
    named = root.absolute()
    if named.name in ("", ".."):
        named = named.resolve()
    if not named.name:
        raise UsageError(f"{root}: has no name that the file could have; name it with --out")
    return named.with_name(f"{named.name}.nc")


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"


def convert(source: str | Path, target: str | Path, *, force: bool = False) -> Path:
    """Write a built sweep anew, as netCDF or Zarr, holding a few cells in memory.

    Parameters
    ----------
    source : str or Path
        A file that `isoklx.build` wrote.
    target : str or Path
        What to write, ending in ``.nc`` or ``.zarr``.
    force : bool
        Replace what is at `target` whatever it is, and not only what `isoklx.build` wrote.

    Returns
    -------
    Path
        What was written: the Dataset that `isoklx.build` would have written there, with the
        attributes of the source, dates included.

    Raises
    ------
    DatasetError
        When the source is absent, damaged, or not as `isoklx.build` wrote it.
    UsageError
        When the target is no possible one, holds what `isoklx.build` did not write, or needs a
        package that is not installed.
    BuildError
        When it cannot be written; what was there before is untouched.

    Examples
    --------
    >>> import isoklx
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     out = isoklx.build("data/sample", Path(folder) / "sample.nc").out
    ...     convert(out, Path(folder) / "copy.nc").name
    'copy.nc'
    """
    from isoklx.store import opening  # late: a build needs no xarray

    source, target = as_path(source), as_path(target)
    formats.check_target(target, force=force)
    opening.read(source).close()  # says what is wrong with it, if anything is
    with stored_cells(source) as (cells, attributes):
        formats.write(cells, target, attributes)
    return target
