"""Labelled arrays, tables and figures for iso-KL steering calibration sweeps.

Every public name is imported when it is first used, so that ``import isoklx`` and
``isoklx --help`` stay fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from isoklx.simulator import simulate as simulate

_HOME = {
    "simulate": "simulator",
}

__all__ = ["simulate"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'isoklx' has no attribute {name!r}")
    return getattr(importlib.import_module(f"isoklx.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
