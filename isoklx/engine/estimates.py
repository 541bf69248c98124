"""Estimates of a run before it starts: cells, tokens, memory and time."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from isoklx.engine.completed import is_complete
from isoklx.engine.inputs import Inputs
from isoklx.engine.plans import CellPlan, Estimate

log = logging.getLogger("isoklx.engine")


def estimates(plans: Sequence[CellPlan], inputs: Inputs, out: Path) -> Iterator[Estimate]:
    """Yield an estimate per cell, loading the models of incomplete cells and writing nothing."""
    loaded = None
    for plan in plans:
        if is_complete(plan, inputs, out):
            yield Estimate(plan, len(plan.settings.alphas), 0, 0, 0, 0, 0.0)
            continue
        if loaded is None or loaded.name != plan.model:
            log.info("%s: loading %s", plan.run_id, plan.model)  # logged before the import of torch
        from isoklx.engine.loading import load_model, quiet
        from isoklx.engine.trials import Paces, estimate

        with quiet():
            if loaded is None or loaded.name != plan.model:
                loaded = None  # first: memory may not hold two models
                settings = plan.settings
                loaded = load_model(plan.model, device=settings.device, dtype=settings.dtype)
                paces = Paces()
            yield estimate(plan, loaded, inputs, out, paces)
