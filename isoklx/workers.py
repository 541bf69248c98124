"""Cells parsed in other processes.

A worker is this interpreter run afresh, fed through its standard input. That, and not
multiprocessing, because a build may be called from any script, notebook or thread: nothing of the
caller is imported again, and nothing of it is forked.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import subprocess
import sys
from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from isoklx.cells import Cell, Choice, Unread, read_cell
from isoklx.errors import BuildError, CellError
from isoklx.spool import spooled

KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(2**30), "MALLOC_MMAP_THRESHOLD_": str(2**30)}
"""Has glibc keep what a cell took for the next one, instead of asking the kernel for it again."""

Outcome = Cell | Unread | CellError | BuildError
"""What became of a cell; a BuildError is about the spool, and so about the whole build."""


@dataclass(frozen=True)
class Task:
    """One cell to read.

    Parameters
    ----------
    folder, dtype, choice, known_hash
        As for `isoklx.cells.read_cell`.
    spool : Path
        Folder in which measured arrays wait.
    """

    folder: Path
    dtype: str
    choice: Choice
    known_hash: str
    spool: Path


def perform(task: Task) -> Outcome:
    """Read a cell, and leave its measured arrays in the spool."""
    try:
        found = read_cell(
            task.folder, dtype=task.dtype, choice=task.choice, known_hash=task.known_hash
        )
    except CellError as error:
        return error
    except MemoryError:
        return CellError(task.folder, "", "too large for the memory of this machine")
    if isinstance(found, Unread):
        return found
    try:
        return spooled(found, task.spool / str(os.getpid()))
    except OSError as error:
        return BuildError(f"{task.spool}: cannot be written: {error.strerror}")


def perform_all(tasks: Iterable[Task], jobs: int) -> Generator[Outcome, None, None]:
    """Perform tasks in ``jobs`` worker processes, in order; in this process for a single job.

    A worker that dies is an error of the cell that it was reading, and is replaced.
    """
    if jobs == 1:
        yield from map(perform, tasks)
        return
    idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
    workers = [_Worker() for _ in range(jobs)]
    for worker in workers:
        idle.put(worker)

    def perform_elsewhere(task: Task) -> Outcome:
        worker = idle.get()
        try:
            return worker.perform(task)
        finally:
            idle.put(worker)

    threads = ThreadPoolExecutor(jobs)
    try:
        yield from threads.map(perform_elsewhere, tasks)
    finally:
        for worker in workers:
            worker.kill()
        threads.shutdown(cancel_futures=True)
        for worker in workers:
            worker.close()


class _Worker:
    """A process that performs one task after another."""

    def __init__(self) -> None:
        self._killed = False
        self._start()

    def _start(self) -> None:
        here = str(Path(__file__).parents[1])
        path = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from isoklx.workers import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**KEEP_MEMORY, **os.environ, "PYTHONPATH": path},
        )

    def perform(self, task: Task) -> Outcome:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            pickle.dump(task, self._process.stdin)
            self._process.stdin.flush()
            outcome: Outcome = pickle.load(self._process.stdout)  # noqa: S301 - our own process
        except (EOFError, OSError, pickle.UnpicklingError):
            status = self._process.wait()
            self.close()
            if not self._killed:
                self._start()
            return CellError(task.folder, "", f"the process that read it ended ({status})")
        return outcome

    def kill(self) -> None:
        """End the process, and so what waits for its answer."""
        self._killed = True
        self._process.kill()

    def close(self) -> None:
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):  # what was not sent to a dead process stays unsent
                assert pipe is not None
                pipe.close()


def serve() -> None:
    """Perform the tasks that come in, until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that was started
    while True:
        try:
            task = pickle.load(sys.stdin.buffer)  # noqa: S301 - our own process
        except EOFError:
            return
        try:
            pickle.dump(perform(task), sys.stdout.buffer, protocol=5)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            os._exit(1)  # whoever asked was killed; there is nobody left to tell
