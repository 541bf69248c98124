"""Builds on a dask.distributed scheduler: its workers parse cells and write blocks of a store.

Every task can be repeated: a cell goes into the spool under a unique name, and a block has files of
its own. If a worker dies, the scheduler gives its tasks to another one, with the same result.
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
"""Retries of a failed task, since shared storage fails occasionally."""

BATCH = 100
"""Tasks sent at a time, each of a few kilobytes; dask warns of messages beyond 10 MB."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def perform_on(client: Client, tasks: Sequence[Task]) -> Generator[Outcome, None, None]:
    """Perform tasks at a scheduler, in order, like `isoklx.sweeps.workers.perform_all`."""
    results = _results(client, _perform, tasks)
    for task, result in zip(tasks, results, strict=True):
        yield (
            CellError(task.folder, "", "every worker that read it died")
            if isinstance(result, KilledWorker)
            else result
        )


def write_on(client: Client, blocks: Iterable[Block]) -> None:
    """Write blocks at a scheduler, in any order."""
    blocks = list(blocks)
    for block, result in zip(blocks, _results(client, Block.write, blocks), strict=True):
        if isinstance(result, KilledWorker):
            raise BuildError(f"{block.store}: every worker that wrote to {block.name} died")


def _perform(task: Task) -> Outcome:
    own = task.spool / secrets.token_hex(8)
    try:
        own.mkdir()
    except OSError as error:
        remedy = "put roots and output on storage that all workers see"
        return BuildError(f"{task.spool}: a worker cannot write: {error.strerror}; {remedy}")
    return perform(replace(task, spool=own))


def _results(
    client: Client, function: Callable[[Item], Result], items: Sequence[Item]
) -> Iterator[Result | KilledWorker]:
    """Yield the result for each item, in order; KilledWorker if it killed too many workers."""
    futures = client.map(function, items, pure=False, retries=RETRIES, batch_size=BATCH)
    try:
        while futures:
            yield _result(futures[0])
            del futures[0]  # lets the worker drop the result
    finally:
        client.cancel(futures)


def _result(future: Future[Any]) -> Any:
    try:
        return future.result()
    except KilledWorker as error:
        return error
    except CancelledError as error:
        raise BuildError("the scheduler was lost; the existing output is unchanged") from error
