"""Paths as people write them: ``~`` is the home folder, in every function and command."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

PathLike = str | os.PathLike[str]


def as_path(path: PathLike) -> Path:
    """Make a path of what a caller wrote.

    Parameters
    ----------
    path : str or path
        ``~`` and ``~name`` at its beginning are home folders, as in a shell; the home of a user
        who is not there is a name like any other.

    Returns
    -------
    Path

    Examples
    --------
    >>> as_path("~/runs") == Path.home() / "runs"
    True
    >>> as_path("runs/~")
    PosixPath('runs/~')
    """
    return Path(os.path.expanduser(path))  # noqa: PTH111  # Path's own raises for an unknown user


def as_paths(paths: PathLike | Iterable[PathLike]) -> list[Path]:
    """Make paths of one or of several.

    Parameters
    ----------
    paths : path or iterable of paths
        As for `as_path`.

    Returns
    -------
    list of Path

    Examples
    --------
    >>> as_paths("runs_a"), len(as_paths(["runs_a", "runs_b"]))
    ([PosixPath('runs_a')], 2)
    """
    if isinstance(paths, str | os.PathLike):
        return [as_path(paths)]
    return [as_path(each) for each in paths]
