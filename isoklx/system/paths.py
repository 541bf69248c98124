"""Expansion of ``~`` in paths, for all functions and commands."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

PathLike = str | os.PathLike[str]


def as_path(path: PathLike) -> Path:
    """Return a Path with ``~`` and ``~name`` expanded; an unknown user's name stays as it is."""
    return Path(os.path.expanduser(path))  # noqa: PTH111  # Path's own raises for an unknown user


def as_paths(paths: PathLike | Iterable[PathLike]) -> list[Path]:
    """Return a list of Paths from one path or several."""
    if isinstance(paths, str | os.PathLike):
        return [as_path(paths)]
    return [as_path(each) for each in paths]
