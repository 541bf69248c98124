"""Atomic replacement of files and folders."""

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
"""File in a workspace that its process keeps locked."""

PROBE = 2**20
"""Bytes that are written to obtain the reason for a failure from the operating system."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Lend a temporary path beside `path`, and move its content to `path` after the block.

    A file is replaced in one step with its bytes on disk, a folder in two. A failure to write
    raises BuildError; after any failure the old content remains and the temporary one is removed. A
    symbolic link stays, and its target is replaced.
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
    """Return the target of `path` if it is a symbolic link, else `path`."""
    return Path(os.path.realpath(path))


@contextlib.contextmanager
def workspace(path: Path) -> Iterator[Path]:
    """Lend a temporary folder on the file system of `path` (or of its target), with a lock in it.

    It is removed after the block, also on SIGTERM and SIGHUP. A process that is killed leaves it
    behind; the next workspace for the same `path` then removes it. A folder whose process still
    runs is recognised by its lock and left alone.
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
                claim.give_up()  # again, in case Ctrl-C interrupted the first


class _Claim:
    """A workspace of this process, registered before it is created and until it is removed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._folder: Path | None = None
        self._lock: int | None = None

    def make(self) -> Path:
        try:
            while not self._made():
                self.give_up()  # another process removed it before it was locked
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
    """Move `path` to `old` and `new` to `path`; folders cannot be exchanged in one step."""

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
    """Remove workspaces for `path` whose processes were killed."""
    name = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{8}}\.partial")
    with contextlib.suppress(OSError):  # then this process may not remove anything
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
    """Remove a folder whose process was killed before locking it or while removing it."""
    try:
        folder.rmdir()
    except OSError:
        # The lock is created first, so files without a lock are left from an incomplete removal.
        if not (folder / LOCK).exists():
            shutil.rmtree(folder, ignore_errors=True)


def _locked(lock: int) -> bool | None:
    """Try to lock a file; return None where the file system does not support locks."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def locking_trouble(path: Path) -> str | None:
    """Return why HDF5 cannot lock a file, with a remedy; None where locks are not the reason.

    HDF5 locks the files it opens with flock, and reports any failure as "HDF error".
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
    """Return an error with the reason; libnetcdf reports a wrong one, or none, on a full disk."""
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
