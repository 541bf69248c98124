"""Cells parsed in other processes.

A worker is a new process of this interpreter, fed through its standard input. Unlike
multiprocessing, it imports and forks nothing of the caller, so a build may run in any script,
notebook or thread. loky promises this too, but its workers print tracebacks at Ctrl-C, a killed one
loses the cells of the others, and it was not faster.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Thread

from isoklx.cells.reading import Cell, Choice, Unread, read_cell
from isoklx.errors import BuildError, CellError
from isoklx.store.arrays_on_disk import spooled
from isoklx.system.signals import cleanup_on_signal
from isoklx.system.terminal import open_standard_streams

BATCH = 8 * 2**20
"""Bytes of small cells sent to a worker together."""

KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(2**30), "MALLOC_MMAP_THRESHOLD_": str(2**30)}
"""Make glibc keep freed memory for the next cell instead of returning it to the kernel."""

Outcome = Cell | Unread | CellError | BuildError
"""Result of reading a cell; a BuildError concerns the spool, and thus the whole build."""

SERVE = "import sys; sys.path[:] = sys.argv[1:]; from isoklx.sweeps.workers import serve; serve()"
"""Program of a worker; it has the module path of this process."""

Batch = Sequence["Task"]
Waiting = deque[tuple[Batch, "Future[list[Outcome]]"]]


@dataclass(frozen=True)
class Task:
    """One cell to read into the folder `spool`; see `isoklx.cells.reading.read_cell`."""

    folder: Path
    dtype: str
    choice: Choice
    known_hash: str
    spool: Path
    texts: bool = False


def perform(task: Task) -> Outcome:
    """Read a cell, and move its measured arrays to the spool."""
    try:
        found = read_cell(
            task.folder,
            dtype=task.dtype,
            choice=task.choice,
            known_hash=task.known_hash,
            texts=task.texts,
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


def perform_all(tasks: Sequence[Task], jobs: int, size: int) -> Generator[Outcome, None, None]:
    """Perform tasks in `jobs` processes, in order; `size` is the total size of the cells in bytes.

    Small cells are sent in batches, and this process performs batches too, since workers start
    slowly. It leaves large cells to the workers, which would otherwise wait for their next task. If
    a worker dies, the cell that it was reading becomes an error, and the worker is replaced.
    """
    if jobs == 1:
        yield from map(perform, tasks)
        return
    each = max(size // len(tasks), 1)
    small = each < BATCH
    waiting: Waiting = deque((part, Future()) for part in _batched(tasks, max(BATCH // each, 1)))
    futures = [future for _, future in waiting]
    workers: list[_Worker] = []
    threads: list[Thread] = []
    with cleanup_on_signal(partial(_kill, workers)):
        try:
            for _ in range(jobs - 1 if small else jobs):
                workers.append(_Worker())
                thread = Thread(target=_perform_waiting, args=(waiting, workers[-1].perform))
                thread.start()
                threads.append(thread)
            for future in futures:
                while small and not future.done() and _perform_next(waiting, _perform_here):
                    pass
                yield from future.result()
        finally:
            waiting.clear()
            for worker in workers:
                worker.kill()
            for thread in threads:
                thread.join()
            for worker in workers:
                worker.close()


def _kill(workers: Sequence[_Worker]) -> None:
    """Kill and reap every worker, without locks, which its thread may hold."""
    for worker in workers:
        worker.kill()
    for worker in workers:
        with suppress(ChildProcessError):
            os.waitpid(worker.pid, 0)


def _batched(tasks: Sequence[Task], length: int) -> Iterator[Batch]:
    for start in range(0, len(tasks), length):
        yield tasks[start : start + length]


def _perform_here(batch: Batch) -> list[Outcome]:
    return [perform(task) for task in batch]


def _perform_waiting(waiting: Waiting, perform_batch: Callable[[Batch], list[Outcome]]) -> None:
    while _perform_next(waiting, perform_batch):
        pass


def _perform_next(waiting: Waiting, perform_batch: Callable[[Batch], list[Outcome]]) -> bool:
    """Perform the next waiting batch; return False if none is left."""
    try:
        batch, future = waiting.popleft()
    except IndexError:
        return False
    try:
        future.set_result(perform_batch(batch))
    except Exception as error:  # noqa: BLE001 - raised by future.result()
        future.set_exception(error)
    return True


class _Worker:
    """Process that performs one batch after another."""

    def __init__(self) -> None:
        self._killed = False
        self._start()

    def _start(self) -> None:
        # Only the parent handles Ctrl-C. The worker inherits the blocked signal, so it prints no
        # traceback, not even while it imports.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own program and path
                [sys.executable, "-c", SERVE, *(p for p in sys.path if isinstance(p, str))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**KEEP_MEMORY, **os.environ},
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    @property
    def pid(self) -> int:
        return self._process.pid

    def perform(self, batch: Batch) -> list[Outcome]:
        """Perform a batch; restart the process for the remaining tasks if it dies."""
        outcomes: list[Outcome] = []
        while len(outcomes) < len(batch):
            rest = batch[len(outcomes) :]
            try:
                self._exchange(rest, outcomes)
            except (EOFError, OSError, pickle.UnpicklingError):
                status = self._process.wait()
                self.close()
                ended = f"the process that read it exited ({status})"
                failed = rest if self._killed else batch[len(outcomes) : len(outcomes) + 1]
                outcomes += [CellError(task.folder, "", ended) for task in failed]
                if self._killed:
                    break
                self._start()
        return outcomes

    def _exchange(self, batch: Batch, outcomes: list[Outcome]) -> None:
        """Send a batch, and append the outcomes as they arrive."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        pickle.dump(batch, self._process.stdin)
        self._process.stdin.flush()
        for _ in batch:
            outcomes.append(pickle.load(self._process.stdout))  # noqa: S301 - our own process

    def kill(self) -> None:
        """Kill the process, which also ends the wait for its answer."""
        self._killed = True
        self._process.kill()

    def close(self) -> None:
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):  # unsent data for a dead process
                assert pipe is not None
                pipe.close()


def serve() -> None:
    """Perform incoming batches until standard input ends."""
    open_standard_streams()  # standard error may be closed, as in the parent
    while True:
        try:
            batch = pickle.load(sys.stdin.buffer)  # noqa: S301 - our own process
        except EOFError:
            return
        try:
            for task in batch:
                pickle.dump(perform(task), sys.stdout.buffer, protocol=5)
                sys.stdout.buffer.flush()
        except BrokenPipeError:
            os._exit(1)  # the parent was killed
