"""A sweep that is looked at again and again: built, and its page written, as it changes."""

from __future__ import annotations

import contextlib
import secrets
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from isoklx.cells.layout import BEING_WRITTEN, CALIBRATION, UNREADABLE, Stamp
from isoklx.cells.reading import read_cell
from isoklx.errors import BuildError, CellError, IsoklxError, UsageError
from isoklx.report.page import require_report_extra, write_report
from isoklx.report.parts import refreshing
from isoklx.store import formats
from isoklx.sweeps.build import build
from isoklx.sweeps.opening import open_sweep
from isoklx.system.atomic import destination, replacing, workspace
from isoklx.watch.disk import Reading, Traces, reading_of, require_root, traces_in
from isoklx.watch.states import CellState, Headway, cell_states, headway

OFTENEST = 10.0
"""Seconds between two readings of the page by a browser, at least: each takes it a moment."""


@dataclass(frozen=True)
class View:
    """A sweep at one look.

    Parameters
    ----------
    root, page : Path
        The runs root and the page.
    time : datetime
        When it was looked at, in local time.
    states : tuple of CellState
        What each cell is doing.
    headway : Headway
        How far all of it has come.
    read : datetime, optional
        When the cells were read that the page shows; None where there is no page yet.
    problems : tuple of str
        What was in the way of a build, and what there is to know of the page.
    """

    root: Path
    page: Path
    time: datetime
    states: tuple[CellState, ...]
    headway: Headway
    read: datetime | None
    problems: tuple[str, ...]


class Watch:
    """Looks at a runs root that others write to.

    Cells are built into a file beside the page, of its name and ending in ``.nc``, in which those
    that have not changed are found again; so is a watch that is started anew. A look that finds
    nothing changed builds nothing: of a thousand cells it takes 55 ms of one core.

    Parameters
    ----------
    root : Path
        The runs root; there may be no cell in it yet.
    page : Path
        The page to keep current, ending in ``.html``.
    stale : float
        Seconds without anything written after which a cell is stale.
    cells : int, optional
        How many cells there will be.
    every : float, optional
        Seconds after which a browser reads the page anew; None for a page that stays as it is.

    Raises
    ------
    UsageError
        When `root` is no folder, or one that cannot become a runs root, the file beside the page is
        not of a build, or the extra ``report`` is not installed.
    BuildError
        When there can be no folder for the page.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     watch = Watch(Path("data/sample"), Path(folder, "report.html"))
    ...     view = watch.look()
    ...     sorted(path.name for path in Path(folder).iterdir())
    ['report.html', 'report.nc']
    >>> view.headway
    Headway(done=12, cells=12, share=1.0, seconds_left=0.0)
    """

    def __init__(
        self,
        root: Path,
        page: Path,
        *,
        stale: float = 600.0,
        cells: int | None = None,
        every: float | None = None,
    ) -> None:
        require_report_extra()
        require_root(root)
        self.root, self.page, self.file = root, page, page.with_suffix(".nc")
        self._stale, self._cells, self._every = stale, cells, every
        try:
            page.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BuildError(f"{page.parent}: cannot be made: {error.strerror}") from error
        if self.file.exists() and not formats.is_replaceable(self.file):
            raise UsageError(
                f"{self.file}: is there, and not known to be written by isoklx build; "
                "move it, or name another page"
            )
        formats.check_target(self.file)
        self._traces: dict[str, Traces] = {}
        self._built: dict[str, dict[str, Stamp]] = {}
        self._reading = Reading()
        self._read: datetime | None = None
        self._page_is_due = True
        self._final: bytes | None = None

    def look(self) -> View:
        """Look at every cell, and build and write what has changed.

        Returns
        -------
        View
            What could not be done is among its problems, and tried again at the next look.
        """
        problems: list[str] = []
        try:
            self._traces = traces_in(self.root)
            sources = {
                name: each.sources
                for name, each in self._traces.items()
                if each.sources is not None
            }
            if sources != self._built:
                problems += self._build(sources)
                self._built = {} if any(map(_passes, self._reading.skipped.values())) else sources
        except IsoklxError as error:
            problems.append(str(error))
        states, far = self._told()
        found = tuple(problems)
        return View(self.root, self.page, _now(), states, far, self._read, found)

    def settle(self) -> None:
        """Leave the page as it was last written, but for what had it read anew.

        Waits for nothing, so that it can be owed when Ctrl-C ends the process.

        Raises
        ------
        BuildError
            When it cannot be written; the page is then as it was.
        """
        if self._final is None or self._every is None:
            return
        path = destination(self.page)
        partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.final")
        try:
            partial.write_bytes(self._final)
            partial.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise BuildError(f"{self.page}: cannot be written: {error.strerror}") from error
        self._final = None

    def _told(self) -> tuple[tuple[CellState, ...], Headway]:
        states = cell_states(self._traces, self._reading, time.time(), self._stale)
        return tuple(states), headway(states, self._traces, self._cells)

    def _build(self, sources: Mapping[str, Mapping[str, Stamp]]) -> list[str]:
        """Build the cells and write their page; what there is to know of that."""
        if not any(CALIBRATION in files for files in sources.values()):
            self._reading = Reading()
            return []
        read = _now()
        try:
            report = build(self.root, self.file, texts=True)
        except BuildError as error:
            self._reading = self._unreadable(error)
            return ["no cell can be read, and so no page is written"]
        self._page_is_due |= report.written
        if not self._page_is_due:
            return []
        with warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter("default")
            with open_sweep(self.file, texts=True) as ds, workspace(self.page) as room:
                self._reading = reading_of(ds, self.root, report.skipped)
                final = write_report(ds, room / "page.html").read_bytes()
        self._final = final  # before the page that it ends, for Ctrl-C may come in between
        with replacing(self.page) as partial:
            partial.write_bytes(final if self._every is None else self._refreshing(final, read))
        self._page_is_due, self._read = False, read
        return list(dict.fromkeys(str(note.message) for note in notes))

    def _unreadable(self, failure: BuildError) -> Reading:
        """Why no cell can be read; raises `failure` where one can, for then it is another."""
        errors: dict[str, CellError] = {}
        for name, each in self._traces.items():
            if each.folder is not None:
                try:
                    read_cell(each.folder)
                except CellError as error:
                    errors[name] = error
                else:
                    raise failure
        return Reading(skipped=errors)

    def _refreshing(self, page: bytes, read: datetime) -> bytes:
        assert self._every is not None
        _, far = self._told()
        says = f"Still being measured: {far.done} of {far.cells} cells done at {read:%H:%M:%S}."
        return refreshing(page.decode("utf-8"), max(self._every, OFTENEST), says).encode("utf-8")


def _passes(error: CellError) -> bool:
    """Whether a cell may be readable at the next look although nothing of it has changed."""
    return error.reason == BEING_WRITTEN or error.reason.startswith(UNREADABLE)


def _now() -> datetime:
    return datetime.now().astimezone().replace(microsecond=0)
