"""Models to cells: steer a model, calibrate the dose, measure what it does to the rollouts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from isoklx.measure.rechecking import recheck as recheck
    from isoklx.measure.runs import run as run

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submod_attrs={"rechecking": ["recheck"], "runs": ["run"]}
)
