"""A claim on a cell: of all that work on one runs root, one makes it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from isoklx.errors import BuildError
from isoklx.system.signals import cleanup_on_signal

_MINE: set[tuple[Path, int]] = set()
"""What each thread has claimed: a claim within a claim is the same one."""


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[bool]:
    """Claim a cell for as long as the block lasts, or say that somebody else has it.

    The claim is a lock on a file ``.NAME.claim`` beside the folder, which need not exist yet. The
    system takes it back when the process dies, however it dies. Where a file system knows no locks,
    every claim is granted.

    Parameters
    ----------
    folder : Path
        The cell's folder; its parent exists.

    Yields
    ------
    bool
        Whether this thread has it. A claim that it had before the block stays afterwards.

    Raises
    ------
    BuildError
        When nothing can be written beside the folder.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as root:
    ...     with claimed(Path(root) / "gpt2_pca_s0_w64") as mine:
    ...         mine, [path.name for path in Path(root).iterdir()]
    (True, ['.gpt2_pca_s0_w64.claim'])
    """
    path = folder.parent.resolve() / f".{folder.name}.claim"
    mine = (path, threading.get_ident())
    if mine in _MINE:
        yield True
        return
    try:
        lock = _locked(path)
    except OSError as error:
        raise BuildError(f"{folder}: cannot be claimed: {error.strerror}") from error
    if lock is None:
        yield False
        return
    _MINE.add(mine)
    try:
        with cleanup_on_signal(path.unlink):
            yield True
    finally:
        _MINE.discard(mine)
        with contextlib.suppress(OSError):
            path.unlink()  # while it is locked, so that nobody can have locked this very file
        os.close(lock)


def _locked(path: Path) -> int | None:
    """A locked file at `path`; None where somebody else has it."""
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        except OSError:  # the file system knows no locks
            return lock
        if _is_at(lock, path):
            return lock
        os.close(lock)  # who had it before has removed it meanwhile


def _is_at(lock: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(lock), path.stat())
    except FileNotFoundError:
        return False
