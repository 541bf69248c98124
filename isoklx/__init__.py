"""Labelled arrays, tables and figures for iso-KL steering calibration sweeps.

Every public name is imported when it is first used, so that ``import isoklx`` and
``isoklx --help`` stay fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from isoklx.builder import build as build
    from isoklx.opening import open_sweep as open_sweep
    from isoklx.simulator import simulate as simulate

_HOME = {
    "build": "builder",
    "open_sweep": "opening",
    "simulate": "simulator",
}
"""Where each public function lives; a module never has the name of a function."""

__all__ = ["build", "open_sweep", "simulate"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'isoklx' has no attribute {name!r}")
    return getattr(importlib.import_module(f"isoklx.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
