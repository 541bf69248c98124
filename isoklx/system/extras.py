"""Optional packages."""

from __future__ import annotations

import importlib.util

from isoklx.errors import UsageError


def require_extra(package: str, purpose: str, extra: str = "") -> None:
    """Raise UsageError unless an optional package is installed; `purpose` begins the message.

    The extra of isoklx that installs it has the package's name unless `extra` is given.
    """
    if importlib.util.find_spec(package) is None:
        raise UsageError(f"{purpose} needs {package}: pip install 'isoklx[{extra or package}]'")
