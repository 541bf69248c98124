"""Build one labelled file from runs roots, and report cells read and skipped."""

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
    """Result of a build; ``str`` gives a summary for people.

    Parameters
    ----------
    out : Path
        The built file.
    read : tuple of str
        ``run_id`` of every cell in the file, ascending.
    unchanged : tuple of str
        ``run_id`` of the cells that were copied from the previous file instead of parsed.
    skipped : tuple of CellError
        Unreadable cells: folder, file and reason.
    notes : tuple of str
        Remarks on cells that were read: a stale file, a value that float32 rounds.
    written : bool
        False if the file was up to date, and therefore not written.
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
            f"read {_count(parsed)}" + f", {len(self.unchanged)} unchanged" * bool(self.unchanged)
        ]
        # Names of folders and values in JSON may contain control characters.
        lines += [f"note: {printable(note)}" for note in self.notes]
        lines += [f"skipped: {printable(error)}" for error in self.skipped]
        if self.skipped:
            lines.append(f"skipped {_count(len(self.skipped))}, the rest is built")
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

    Cells with unchanged files are copied from the existing file and not parsed again; the result
    equals a build from scratch.

    Parameters
    ----------
    roots : path or iterable of paths
        Folders with one folder per cell.
    out : path, optional
        File to write: netCDF (``.nc``) or a Zarr store (``.zarr``). Default for a single root:
        ``ROOT.nc`` beside it. The target of a symbolic link is replaced, not the link.
    window : int, optional
        Only cells of this window, in tokens.
    model_contains : str
        Only cells whose ``model`` contains this text (case-sensitive).
    dtype : {"float32", "float64"}
        Storage of ``kl``, ``pmass_eval``, ``pmass`` and ``p_true``. float32 is exact for the output
        of models; the report names every value that it rounds.
    strict : bool
        Write nothing and fail if any cell cannot be read.
    jobs : int, optional
        Number of parsing processes; default: one per core.
    force : bool
        Parse every cell again, and replace `out` whatever program wrote it. Otherwise only the
        output of a build or a conversion is replaced.
    scheduler : str, optional
        Address of a dask.distributed scheduler, ``tcp://HOST:PORT``. Its workers parse the cells
        and write a Zarr store (a netCDF file is written by this process). All of them must see
        roots and `out` under the same paths.
    texts : bool
        Also store ``prompt_text``, ``gen_text`` and ``token_chars`` (characters per token) from
        each cell's ``gens.jsonl``. Missing or broken texts are reported as notes.

    Returns
    -------
    Report
        Cells read, cells skipped and the reasons.

    Raises
    ------
    BuildError
        If no cell is found, two cells share a name, a cell cannot be read and `strict` is set, the
        scheduler does not answer, or the file cannot be written. An existing `out` is left as it
        was.
    UsageError
        If `out` is not a possible target, was not written by `isoklx.build`, or needs a package
        that is not installed.

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
        raise UsageError(f"jobs must be at least 1, got {jobs}")
    if jobs is not None and scheduler is not None:
        raise UsageError("jobs and scheduler cannot be combined: jobs are local processes")
    folders = as_paths(roots)
    target = _target(folders, None if out is None else as_path(out), force)
    if scheduler is not None:
        folders, target = [folder.absolute() for folder in folders], target.absolute()
    with (
        _connected(scheduler) as client,
        _previous_cells(target, dtype, texts, force) as (known, before),
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
            count = _count(len(reading.skipped))
            raise BuildError(f"nothing written: {count} cannot be read: {reasons}")
        attributes = global_attributes(reading.cells, folders, reading.skipped)
        written = _differs(reading, known, attributes, before)
        if written:
            formats.write(reading.cells, target, attributes, _block_writer(client))
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


def _block_writer(client: Client | None) -> WriteBlocks | None:
    """Return the function that writes blocks at a scheduler, if there is one."""
    if client is None:
        return None
    from isoklx.sweeps.distributed import write_on  # needs the extra

    return partial(write_on, client)


def _previous_cells(
    target: Path, dtype: str, texts: bool, force: bool
) -> AbstractContextManager[tuple[dict[str, Cell], dict[str, Any]]]:
    return nullcontext(({}, {})) if force else known_cells(target, dtype, texts=texts)


def _differs(
    reading: Reading,
    known: Mapping[str, Cell],
    attributes: Mapping[str, object],
    before: Mapping[str, object],
) -> bool:
    """Return whether a new file would differ from the existing one in more than its dates."""
    if any(reading.reused.values()) or known.keys() != reading.reused.keys():
        return True
    if len(reading.cells) > len(reading.reused):
        return True
    names = {*attributes, SKIPPED} - {*DATED}
    return any(before.get(name) != attributes.get(name) for name in names)


def _target(roots: list[Path], out: Path | None, force: bool) -> Path:
    """Choose and check the file to write, before anything is read."""
    if not roots:
        raise UsageError("expected at least one runs root")
    if out is None:
        if len(roots) > 1:
            raise UsageError("several runs roots have no default output: name the file with --out")
        out = _default_target(roots[0])
    formats.check_target(out, force=force)
    return out


def _default_target(root: Path) -> Path:
    """Return ROOT.nc beside a root, or beside the link if the root is one."""
    named = root.absolute()
    if named.name in ("", ".."):
        named = named.resolve()
    if not named.name:
        raise UsageError(f"{root}: cannot derive a file name: name the file with --out")
    return named.with_name(f"{named.name}.nc")


def _count(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"


def convert(source: str | Path, target: str | Path, *, force: bool = False) -> Path:
    """Write a built sweep to another netCDF file or Zarr store, a few cells at a time.

    Parameters
    ----------
    source : str or Path
        A file written by `isoklx.build`.
    target : str or Path
        File to write, ending in ``.nc`` or ``.zarr``.
    force : bool
        Replace `target` whatever it is. Otherwise only output of `isoklx.build` is replaced.

    Returns
    -------
    Path
        The written file: equal to the output of `isoklx.build`, with the attributes of the source,
        dates included.

    Raises
    ------
    DatasetError
        If the source is absent, damaged, or was not written by `isoklx.build`.
    UsageError
        If the target is not a possible one, was not written by `isoklx.build`, or needs a package
        that is not installed.
    BuildError
        If it cannot be written; an existing target is left as it was.

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
    opening.read(source).close()  # raises DatasetError for an invalid source
    with stored_cells(source) as (cells, attributes):
        formats.write(cells, target, attributes)
    return target
