"""Writing a file, or a folder, whole or not at all, and leaving nothing else behind."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from isoklx.errors import BuildError
from isoklx.system.signals import cleanup_on_signal, signals_as_exceptions

LOCK = "lock"
"""File in a workspace, locked for as long as the process that works there lives."""

PROBE = 2**20
"""Bytes that are written to learn from the system why something could not be."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Lend a temporary path beside `path`, and put what was written there in its place.

    `path` changes when the block has ended: a file in one step, with its bytes on disk, and a
    folder in two. After any failure what was there before is still there, and what was temporary is
    gone. Where `path` is a symbolic link, it stays, and what it points to is replaced.

    Parameters
    ----------
    path : Path
        The file to write, or the folder; the one that it lies in exists.

    Yields
    ------
    Path
        Where the block writes a file, or makes a folder.

    Raises
    ------
    BuildError
        When it cannot be written, in the block or here.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name) / "table.csv"
    >>> with replacing(path) as partial:
    ...     _ = partial.write_text("method")
    >>> path.read_text()
    'method'
    >>> folder.cleanup()
    """
    with workspace(path) as folder:
        partial = folder / "partial"
        try:
            yield partial
            if partial.is_dir():
                _exchange(partial, destination(path), folder / "old")
            else:
                with partial.open("rb+") as file:
                    os.fsync(file.fileno())
                partial.replace(destination(path))
        except (OSError, RuntimeError) as error:  # libnetcdf's own errors are RuntimeErrors
            raise _unwritten(path, error, partial) from error


def destination(path: Path) -> Path:
    """Where `path` leads, if it is a symbolic link; itself, if it is none.

    Examples
    --------
    >>> destination(Path("/absent/table.csv"))
    PosixPath('/absent/table.csv')
    """
    return Path(os.path.realpath(path))


@contextlib.contextmanager
def workspace(path: Path) -> Iterator[Path]:
    """Lend a folder on the file system of `path`, beside it or what it links to, to prepare it in.

    It is gone afterwards, whatever happens in the block, SIGTERM and SIGHUP included. A process
    that was killed could not see to that: what it left is removed by the next one to prepare the
    same `path`. A folder whose process lives is recognised by its lock, and left alone.

    Parameters
    ----------
    path : Path
        As for `replacing`.

    Yields
    ------
    Path
        The folder, empty but for a lock.

    Raises
    ------
    BuildError
        When there is no room for it.
    """
    claim = _Claim(path)
    with signals_as_exceptions(), cleanup_on_signal(claim.give_up):
        _remove_litter(destination(path))
        try:
            yield claim.make()
        finally:
            try:
                claim.give_up()
            finally:
                claim.give_up()  # again, for Ctrl-C may have come in between


class _Claim:
    """A workspace of this process, known from before it is made until it is gone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folder: Path | None = None
        self._lock: int | None = None

    def make(self) -> Path:
        try:
            while not self._made():
                self.give_up()  # another process took it for litter before it was locked
        except OSError as error:
            raise _unwritten(self._path, error) from error
        assert self._folder is not None
        return self._folder

    def _made(self) -> bool:
        path = destination(self._path)
        if path.is_symlink():
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        self._folder = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
        self._folder.mkdir()
        lock = self._folder / LOCK
        try:
            self._lock = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        except FileNotFoundError:
            return False
        return _locked(self._lock) is not False and lock.exists()

    def give_up(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
        if self._lock is not None:
            lock, self._lock = self._lock, None
            os.close(lock)


def _exchange(new: Path, path: Path, old: Path) -> None:
    """Move `path` to `old` and `new` to `path`: no system does both in one step for folders."""

    def put_back() -> None:
        if old.exists() and not path.exists():
            old.rename(path)

    with cleanup_on_signal(put_back):
        try:
            if path.is_dir():
                path.rename(old)
            new.rename(path)
        except BaseException:  # a signal included
            put_back()
            raise


def _remove_litter(path: Path) -> None:
    """Remove the workspaces of processes that were killed while they prepared `path`."""
    name = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{8}}\.partial")
    with contextlib.suppress(OSError):  # then there is nothing that this process could remove
        for entry in path.parent.iterdir():
            if name.fullmatch(entry.name) and entry.is_dir() and not entry.is_symlink():
                _remove_if_abandoned(entry)


def _remove_if_abandoned(folder: Path) -> None:
    try:
        lock = os.open(folder / LOCK, os.O_RDWR)
    except FileNotFoundError:
        _remove_unlocked(folder)
        return
    except OSError:
        return
    if _locked(lock):
        shutil.rmtree(folder, ignore_errors=True)
    os.close(lock)


def _remove_unlocked(folder: Path) -> None:
    """Remove a folder whose process was killed before it had locked it, or while it removed it."""
    try:
        folder.rmdir()
    except OSError:
        # The lock is the first file in a folder. Where it is not, and others are, it was removed.
        if not (folder / LOCK).exists():
            shutil.rmtree(folder, ignore_errors=True)


def _locked(lock: int) -> bool | None:
    """Whether this process has the lock now; None where the file system knows no locks."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def locking_trouble(path: Path) -> str | None:
    """Explain why HDF5 cannot lock a file, if that is the reason why it cannot open it.

    HDF5 locks what it opens by flock, and reports any failure as "HDF error".

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    str, optional
        The reason and the remedy; None where the file can be locked, or cannot even be opened.
    """
    if os.environ.get("HDF5_USE_FILE_LOCKING", "").upper() in ("FALSE", "0"):
        return None
    remedy = "set HDF5_USE_FILE_LOCKING=FALSE"
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return (
            "another process has it open for writing and holds its lock; "
            f"close it there, or {remedy} if nothing is being written"
        )
    except OSError as error:
        if error.errno in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
            return f"its file system does not support locks; {remedy}"
    return None


def _unwritten(path: Path, error: Exception, partial: Path | None = None) -> BuildError:
    """Say why `path` was not written; libnetcdf has the wrong reason, or none, for a full disk."""
    if partial is not None:
        try:
            with (partial / "probe" if partial.is_dir() else partial).open("ab") as file:
                file.write(bytes(PROBE))
        except OSError as found:
            error = found
        else:
            locking = None if partial.is_dir() else locking_trouble(partial)
            if locking:
                return BuildError(f"{path}: cannot be written: {locking}")
    reason = getattr(error, "strerror", None) or error
    return BuildError(f"{path}: cannot be written: {reason}")
