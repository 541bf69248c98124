"""A build's work at a dask.distributed scheduler: cells parsed, and blocks of a store written.

Whatever a worker does can be done again: a cell goes into the spool under a name that nobody else
uses, and a block fills files of its own. So when a worker dies, the scheduler gives its tasks to
another one, and the result is the same.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import replace
from typing import Any, TypeVar

from distributed import Client, Future, KilledWorker

from isoklx.errors import BuildError, CellError
from isoklx.store.zarr import Block
from isoklx.sweeps.workers import Outcome, Task, perform

RETRIES = 2
"""How often a task that failed is tried again; shared storage has its moments."""

BATCH = 100
"""Tasks sent at a time, each of some kilobytes; dask warns of messages beyond 10 MB."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def perform_on(client: Client, tasks: Sequence[Task]) -> Generator[Outcome, None, None]:
    """Perform tasks at a scheduler, in order, as `isoklx.sweeps.workers.perform_all` does here."""
    results = _results(client, _perform, tasks)
    for task, result in zip(tasks, results, strict=True):
        yield (
            CellError(task.folder, "", "every worker that read it died")
            if isinstance(result, KilledWorker)
            else result
        )


def write_on(client: Client, blocks: Iterable[Block]) -> None:
    """Write blocks at a scheduler, in any order.

    Raises
    ------
    BuildError
        When no worker survived writing one of them.
    """
    blocks = list(blocks)
    for block, result in zip(blocks, _results(client, Block.write, blocks), strict=True):
        if isinstance(result, KilledWorker):
            raise BuildError(f"{block.store}: every worker that wrote to {block.name} died")


def _perform(task: Task) -> Outcome:
    own = task.spool / secrets.token_hex(8)
    try:
        own.mkdir()
    except OSError as error:
        where = "roots and output must be on storage that all workers see"
        return BuildError(f"{task.spool}: a worker cannot write there, {error.strerror}; {where}")
    return perform(replace(task, spool=own))


def _results(
    client: Client, function: Callable[[Item], Result], items: Sequence[Item]
) -> Iterator[Result | KilledWorker]:
    """What the function made of each item, in order; KilledWorker where that killed too many."""
    futures = client.map(function, items, pure=False, retries=RETRIES, batch_size=BATCH)
    try:
        while futures:
            yield _result(futures[0])
            del futures[0]  # and with it the result that a worker keeps
    finally:
        client.cancel(futures)


def _result(future: Future[Any]) -> Any:
    try:
        return future.result()
    except KilledWorker as error:
        return error
    except CancelledError as error:
        raise BuildError("the scheduler was lost; what was there is untouched") from error
