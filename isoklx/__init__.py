"""Labelled arrays, tables and figures for iso-KL steering calibration sweeps.

Every public name is imported when it is first used, so that ``import isoklx`` and
``isoklx --help`` stay fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from isoklx import plot as plot
    from isoklx.builder import build as build
    from isoklx.contrasts import survival_contrast as survival_contrast
    from isoklx.opening import open_sweep as open_sweep
    from isoklx.repeats import distinct as distinct
    from isoklx.repeats import repeated_cells as repeated_cells
    from isoklx.simulator import simulate as simulate
    from isoklx.survival_curves import survival as survival
    from isoklx.survival_curves import survival_summary as survival_summary
    from isoklx.tables import calibration_table as calibration_table
    from isoklx.tables import headline_table as headline_table
    from isoklx.trajectories import bands as bands
    from isoklx.trajectories import crossed as crossed
    from isoklx.trajectories import normalise_kl as normalise_kl
    from isoklx.trajectories import pmass_on_tokens as pmass_on_tokens
    from isoklx.trajectories import quantile as quantile
    from isoklx.trajectories import smooth as smooth

_HOME = {
    "build": "builder",
    "survival_contrast": "contrasts",
    "open_sweep": "opening",
    "distinct": "repeats",
    "repeated_cells": "repeats",
    "simulate": "simulator",
    "survival": "survival_curves",
    "survival_summary": "survival_curves",
    "calibration_table": "tables",
    "headline_table": "tables",
    "bands": "trajectories",
    "crossed": "trajectories",
    "normalise_kl": "trajectories",
    "pmass_on_tokens": "trajectories",
    "quantile": "trajectories",
    "smooth": "trajectories",
}
"""Where each public function lives; a module never has the name of a function."""

__all__ = [
    "bands",
    "build",
    "calibration_table",
    "crossed",
    "distinct",
    "headline_table",
    "normalise_kl",
    "open_sweep",
    "plot",
    "pmass_on_tokens",
    "quantile",
    "repeated_cells",
    "simulate",
    "smooth",
    "survival",
    "survival_contrast",
    "survival_summary",
]


def __getattr__(name: str) -> object:
    if name == "plot":
        return importlib.import_module("isoklx.plot")
    if name not in _HOME:
        raise AttributeError(f"module 'isoklx' has no attribute {name!r}")
    return getattr(importlib.import_module(f"isoklx.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
