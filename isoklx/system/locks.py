"""Locks on cells, so that only one of several processes in a runs root makes a cell."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from isoklx.errors import BuildError
from isoklx.system.signals import cleanup_on_signal

_CLAIMS: set[tuple[Path, int]] = set()
"""Claims of each thread, so that nested claims share one lock."""


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[bool]:
    """Lock a cell during the block; yield whether this thread has the lock.

    The lock is on a file ``.NAME.claim`` beside the folder, which need not exist yet, and ends with
    the process in any case. Nested claims of one thread share the lock. File systems without locks
    grant every claim. Raise BuildError where nothing can be written beside the folder.
    """
    path = folder.parent.resolve() / f".{folder.name}.claim"
    claim = (path, threading.get_ident())
    if claim in _CLAIMS:
        yield True
        return
    try:
        lock = _locked(path)
    except OSError as error:
        raise BuildError(f"{folder}: cannot be claimed: {error.strerror}") from error
    if lock is None:
        yield False
        return
    _CLAIMS.add(claim)
    try:
        with cleanup_on_signal(path.unlink):
            yield True
    finally:
        _CLAIMS.discard(claim)
        with contextlib.suppress(OSError):
            path.unlink()  # while locked, so that no other process can have locked this file
        os.close(lock)


def _locked(path: Path) -> int | None:
    """Return a locked file at `path`; None where another thread or process has the lock."""
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        except OSError:  # the file system does not support locks
            return lock
        if _is_at(lock, path):
            return lock
        os.close(lock)  # its previous owner has removed it meanwhile


def _is_at(lock: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(lock), path.stat())
    except FileNotFoundError:
        return False
