"""Labelled arrays, tables and figures for iso-KL steering calibration sweeps.

Public names are imported on first use, so that ``import isoklx`` and ``isoklx --help`` stay
fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader

from isoklx._version import __version__ as __version__

if TYPE_CHECKING:
    from isoklx import errors as errors
    from isoklx import plot as plot
    from isoklx.cells.writing import write_cell as write_cell
    from isoklx.engine.calibration import Calibration as Calibration
    from isoklx.engine.calibration import calibrate as calibrate
    from isoklx.engine.recheck import recheck as recheck
    from isoklx.engine.run import run as run
    from isoklx.errors import BuildError as BuildError
    from isoklx.errors import CellError as CellError
    from isoklx.errors import DatasetError as DatasetError
    from isoklx.errors import IsoklxError as IsoklxError
    from isoklx.errors import MeasureError as MeasureError
    from isoklx.errors import UsageError as UsageError
    from isoklx.simulation.sweep import simulate as simulate
    from isoklx.stats.contrasts import survival_contrast as survival_contrast
    from isoklx.stats.deduplication import distinct as distinct
    from isoklx.stats.deduplication import repeats as repeats
    from isoklx.stats.dose_response import dose_response as dose_response
    from isoklx.stats.safety import safe_dose as safe_dose
    from isoklx.stats.selection import select as select
    from isoklx.stats.survival import survival as survival
    from isoklx.stats.survival import survival_summary as survival_summary
    from isoklx.stats.targets import crossed as crossed
    from isoklx.stats.targets import share_above as share_above
    from isoklx.stats.trajectories import bands as bands
    from isoklx.stats.trajectories import normalise_kl as normalise_kl
    from isoklx.stats.trajectories import pmass_on_tokens as pmass_on_tokens
    from isoklx.stats.trajectories import quantile as quantile
    from isoklx.stats.trajectories import smooth as smooth
    from isoklx.sweeps.build import build as build
    from isoklx.sweeps.opening import open_sweep as open_sweep
    from isoklx.tables.calibration import calibration_table as calibration_table
    from isoklx.tables.comparison import Comparison as Comparison
    from isoklx.tables.comparison import compare as compare
    from isoklx.tables.headline import headline_table as headline_table

# Subpackages and public functions must not share names: an import would hide the function.
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["errors", "plot"],
    submod_attrs={
        "simulation.sweep": ["simulate"],
        "cells.writing": ["write_cell"],
        "errors": [
            "BuildError",
            "CellError",
            "DatasetError",
            "IsoklxError",
            "MeasureError",
            "UsageError",
        ],
        "engine.calibration": ["Calibration", "calibrate"],
        "engine.recheck": ["recheck"],
        "engine.run": ["run"],
        "stats.contrasts": ["survival_contrast"],
        "stats.dose_response": ["dose_response"],
        "stats.deduplication": ["distinct", "repeats"],
        "stats.selection": ["select"],
        "stats.safety": ["safe_dose"],
        "stats.survival": ["survival", "survival_summary"],
        "stats.targets": ["crossed", "share_above"],
        "stats.trajectories": [
            "bands",
            "normalise_kl",
            "pmass_on_tokens",
            "quantile",
            "smooth",
        ],
        "sweeps.build": ["build"],
        "sweeps.opening": ["open_sweep"],
        "tables.calibration": ["calibration_table"],
        "tables.comparison": ["Comparison", "compare"],
        "tables.headline": ["headline_table"],
    },
)
