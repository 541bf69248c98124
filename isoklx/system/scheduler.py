"""Work done on other machines: a dask.distributed scheduler, by its address."""

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
"""Seconds to wait for a scheduler to answer, and for it to have a worker."""


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """Let dask compute at a scheduler as long as the block lasts.

    Parameters
    ----------
    address : str
        Such as ``tcp://HOST:PORT``.

    Yields
    ------
    Client
        Connected to a scheduler that has at least one worker.

    Raises
    ------
    UsageError
        When dask.distributed is not installed, or the address is none.
    BuildError
        When no scheduler answers there, or it has no worker, within `TIMEOUT` seconds; or when it
        is of another version and says what this one does not understand.
    """
    require_extra("distributed", "--scheduler")
    from distributed import Client

    _require_answer(address)
    try:
        client = Client(address, timeout=TIMEOUT)
    except Exception as error:  # whatever two versions do not have in common
        raise BuildError(
            f"{address}: the scheduler does not understand distributed {version('distributed')}, "
            f"which is here; all machines take the same ({type(error).__name__}: {error})"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=TIMEOUT)
        except TimeoutError as error:
            raise BuildError(f"{address}: the scheduler has no workers") from error
        yield client


def _require_answer(address: str) -> None:
    """Raise unless a scheduler listens; a Client that finds none complains again when freed."""
    from distributed.comm.core import connect

    async def answer() -> None:
        comm = await connect(address, timeout=TIMEOUT)
        await comm.close()

    try:
        # In a thread, because a notebook has an event loop in this one.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, answer()).result()
    except ValueError as error:
        raise UsageError(f"{address}: no address of a scheduler, as tcp://HOST:PORT is") from error
    except Exception as error:  # what else listens there may answer anything
        raise BuildError(f"{address}: no scheduler answers") from error
