"""JSON in the layout of cells' files: one number per line, and NaN as a bare word."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from isoklx.errors import UsageError

Json = dict[str, Any]


def pretty(value: Any, depth: int = 0) -> str:
    """Format as ``json.dumps(value, indent=2)``, but encode rows of numbers in C for speed."""
    if not isinstance(value, dict | list) or not value:
        return json.dumps(value)
    line = "\n" + "  " * (depth + 1)
    end = "\n" + "  " * depth
    if isinstance(value, dict):
        items = (f"{json.dumps(key)}: {pretty(item, depth + 1)}" for key, item in value.items())
        return "{" + line + f",{line}".join(items) + end + "}"
    if any(isinstance(item, dict | list) for item in value):
        return "[" + line + f",{line}".join(pretty(item, depth + 1) for item in value) + end + "]"
    return "[" + line + json.dumps(value, separators=(f",{line}", ": "))[1:-1] + end + "]"


def plain(value: Any, place: str) -> Any:
    """Convert arrays and numbers of any library to JSON types; name `place` in the UsageError."""
    try:
        return json.loads(json.dumps(value, default=_listed))
    except (TypeError, ValueError) as error:
        raise UsageError(f"{place}: {error}") from error


def _listed(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{value!r} cannot be written as JSON")
