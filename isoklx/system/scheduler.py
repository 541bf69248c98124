"""Connection to a dask.distributed scheduler."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

from isoklx.errors import BuildError, UsageError
from isoklx.system.extras import require_extra

if TYPE_CHECKING:
    from distributed import Client

TIMEOUT = 10
"""Seconds to wait for an answer of the scheduler, and for a worker."""


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """Use a scheduler with at least one worker for dask computations within the block."""
    require_extra("distributed", "--scheduler")
    from distributed import Client

    _require_answer(address)
    try:
        client = Client(address, timeout=TIMEOUT)
    except Exception as error:  # incompatible versions may raise anything
        raise BuildError(
            f"{address}: the scheduler is incompatible with distributed {version('distributed')} "
            "on this machine; install the same version on all machines "
            f"({type(error).__name__}: {error})"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=TIMEOUT)
        except TimeoutError as error:
            raise BuildError(f"{address}: the scheduler has no workers") from error
        yield client


def _require_answer(address: str) -> None:
    """Raise unless a scheduler answers; a Client without one logs further errors when freed."""
    from distributed.comm.core import connect

    async def answer() -> None:
        comm = await connect(address, timeout=TIMEOUT)
        await comm.close()

    try:
        # In another thread, because a notebook runs an event loop in this one.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, answer()).result()
    except ValueError as error:
        raise UsageError(
            f"scheduler address must have the form tcp://HOST:PORT, got {address!r}"
        ) from error
    except Exception as error:  # another kind of server may answer anything
        raise BuildError(f"{address}: no scheduler answers") from error
