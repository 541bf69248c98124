"""Packages that only some people need: asked for by name, and missed in one line."""

from __future__ import annotations

import importlib.util

from isoklx.errors import UsageError


def require_extra(package: str, purpose: str, extra: str = "") -> None:
    """Raise UsageError unless an optional package is installed.

    Parameters
    ----------
    package : str
        Its name.
    purpose : str
        What it is needed for, as the beginning of a sentence.
    extra : str
        The extra of isoklx that brings it; by default it has the package's name.

    Examples
    --------
    >>> require_extra("numpy", "arithmetic")
    >>> require_extra("no_such_package", "magic")
    Traceback (most recent call last):
    isoklx.errors.UsageError: magic needs no_such_package: pip install 'isoklx[no_such_package]'
    """
    if importlib.util.find_spec(package) is None:
        raise UsageError(f"{purpose} needs {package}: pip install 'isoklx[{extra or package}]'")
