"""Repeated builds of a sweep that is being measured, and of its page."""

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
from isoklx.watch.disk import BuildResult, DiskState, build_result, check_root, disk_states
from isoklx.watch.states import CellState, Progress, cell_states, progress

OFTENEST = 10.0
"""Shortest interval, in seconds, at which a browser reloads the page."""


@dataclass(frozen=True)
class View:
    """State of a sweep at one look."""

    root: Path
    page: Path
    time: datetime  # local
    states: tuple[CellState, ...]
    progress: Progress
    read: datetime | None  # when the cells on the page were read; None without a page
    problems: tuple[str, ...]  # failures of the build and warnings of the page


class Watch:
    """Observer of a runs root that others write to.

    Cells are built into a file beside the page, of its name and ending in ``.nc``, in which
    unchanged cells are found again, also by a new watch. A look without changes builds nothing:
    with a thousand cells it takes 55 ms of one core. UsageError is raised if `root` cannot be a
    runs root or the file beside the page is not that of a build, BuildError if the folder of the
    page cannot be made.
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
        check_root(root)
        self.root, self.page, self.file = root, page, page.with_suffix(".nc")
        self._stale, self._cells, self._every = stale, cells, every
        try:
            page.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BuildError(f"{page.parent}: cannot be made: {error.strerror}") from error
        if self.file.exists() and not formats.is_replaceable(self.file):
            raise UsageError(
                f"{self.file}: exists, but was not written by isoklx build; "
                "move it, or name another page"
            )
        formats.check_target(self.file)
        self._on_disk: dict[str, DiskState] = {}
        self._built: dict[str, dict[str, Stamp]] = {}
        self._build_result = BuildResult()
        self._read: datetime | None = None
        self._page_is_due = True
        self._final: bytes | None = None

    def look(self) -> View:
        """Look at every cell, and build and write what has changed; failures become problems."""
        problems: list[str] = []
        try:
            self._on_disk = disk_states(self.root)
            sources = {
                name: each.sources
                for name, each in self._on_disk.items()
                if each.sources is not None
            }
            if sources != self._built:
                problems += self._build(sources)
                self._built = (
                    {}
                    if any(map(_may_become_readable, self._build_result.skipped.values()))
                    else sources
                )
        except IsoklxError as error:
            problems.append(str(error))
        states, overall = self._assess()
        return View(self.root, self.page, _now(), states, overall, self._read, tuple(problems))

    def settle(self) -> None:
        """Replace the page by its last content without reloading.

        Does not wait for anything, as it runs when Ctrl-C ends the process.
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

    def _assess(self) -> tuple[tuple[CellState, ...], Progress]:
        states = cell_states(self._on_disk, self._build_result, time.time(), self._stale)
        return tuple(states), progress(states, self._on_disk, self._cells)

    def _build(self, sources: Mapping[str, Mapping[str, Stamp]]) -> list[str]:
        """Build the cells and write their page; return problems and warnings."""
        if not any(CALIBRATION in files for files in sources.values()):
            self._build_result = BuildResult()
            return []
        read = _now()
        try:
            report = build(self.root, self.file, texts=True)
        except BuildError as error:
            self._build_result = self._unreadable(error)
            return ["no cell can be read: the page is not written"]
        self._page_is_due |= report.written
        if not self._page_is_due:
            return []
        with warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter("default")
            with open_sweep(self.file, texts=True) as ds, workspace(self.page) as folder:
                self._build_result = build_result(ds, self.root, report.skipped)
                final = write_report(ds, folder / "page.html").read_bytes()
        self._final = final  # before the page, as Ctrl-C may come in between
        with replacing(self.page) as partial:
            partial.write_bytes(final if self._every is None else self._with_reload(final, read))
        self._page_is_due, self._read = False, read
        return list(dict.fromkeys(str(note.message) for note in notes))

    def _unreadable(self, failure: BuildError) -> BuildResult:
        """Return why no cell can be read; raise `failure` if one can."""
        errors: dict[str, CellError] = {}
        for name, each in self._on_disk.items():
            if each.folder is not None:
                try:
                    read_cell(each.folder)
                except CellError as error:
                    errors[name] = error
                else:
                    raise failure
        return BuildResult(skipped=errors)

    def _with_reload(self, page: bytes, read: datetime) -> bytes:
        assert self._every is not None
        _, overall = self._assess()
        cells = f"{overall.done} of {overall.cells} cells"
        text = f"Still being measured: {cells} done at {read:%H:%M:%S}."
        return refreshing(page.decode("utf-8"), max(self._every, OFTENEST), text).encode("utf-8")


def _may_become_readable(error: CellError) -> bool:
    """Return whether a cell may become readable without a change."""
    return error.reason == BEING_WRITTEN or error.reason.startswith(UNREADABLE)


def _now() -> datetime:
    return datetime.now().astimezone().replace(microsecond=0)
