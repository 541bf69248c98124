"""Writing a file whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from isoklx.errors import BuildError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Lend a temporary path beside `path`, and put what was written there in its place.

    `path` changes in one step, when the block has ended and the bytes are on disk. After any
    failure what was there before is still there, and the temporary file is gone.

    Parameters
    ----------
    path : Path
        The file to write; its folder exists.

    Yields
    ------
    Path
        Where the block writes a file.

    Raises
    ------
    BuildError
        When the file cannot be written, in the block or here.

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
    # On the same file system as the target, so that the last step is a rename.
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, RuntimeError) as error:  # libnetcdf's own errors are RuntimeErrors
        reason = getattr(error, "strerror", None) or error
        raise BuildError(f"{path}: cannot be written: {reason}") from error
    finally:
        # A folder that cannot be written to cannot be cleaned either, and its error came first.
        with contextlib.suppress(OSError):
            partial.unlink()
