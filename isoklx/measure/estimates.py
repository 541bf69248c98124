"""Estimates of a run before it is begun: cells, tokens, memory and time."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from isoklx.measure.completed import is_complete
from isoklx.measure.inputs import Inputs
from isoklx.measure.meter import duration
from isoklx.measure.plans import CellPlan

log = logging.getLogger("isoklx.measure")


@dataclass(frozen=True)
class Estimate:
    """What one cell would take.

    Parameters
    ----------
    plan : CellPlan
        Which cell.
    doses_there : int
        Doses that the folder has already, of those that are asked for.
    tokens : int
        Tokens that are decoded at most; 0 where nothing is left to be done.
    rows : int
        Rollouts at a time, in the largest batch that is left to be done.
    weights, working : int
        Bytes of the model, and of the batch that takes most beside it.
    seconds : float
        At the speed of a few tokens of the largest batches; shorter where rollouts end early.
    """

    plan: CellPlan
    doses_there: int
    tokens: int
    rows: int
    weights: int
    working: int
    seconds: float

    def __str__(self) -> str:
        if not self.tokens:
            return f"{self.plan.run_id}: is complete"
        there = f", {self.doses_there} of its doses are there" if self.doses_there else ""
        memory = f"{_bytes(self.weights)} for the model, {_bytes(self.working)} for a batch"
        return (
            f"{self.plan.run_id}: at most {self.tokens} tokens{there}; "
            f"{self.rows} rollouts at a time; {memory}; about {duration(self.seconds)}"
        )


def _bytes(number: int) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"


def estimates(plans: Sequence[CellPlan], inputs: Inputs, out: Path) -> Iterator[Estimate]:
    """Estimate cell after cell; the models of those that are not complete are loaded and tried.

    Parameters
    ----------
    plans : sequence of CellPlan
        The cells of a run.
    inputs : Inputs
        What their models are given.
    out : Path
        The runs root, which need not exist.

    Yields
    ------
    Estimate
        Nothing is written.

    Raises
    ------
    UsageError, MeasureError
        As a run would.
    """
    loaded = None
    for plan in plans:
        if is_complete(plan, inputs, out):
            yield Estimate(plan, len(plan.settings.alphas), 0, 0, 0, 0, 0.0)
            continue
        if loaded is None or loaded.name != plan.model:
            log.info("%s: loading %s", plan.run_id, plan.model)  # before torch is imported
        from isoklx.measure.loading import load_model, quiet
        from isoklx.measure.trials import Paces, estimate

        with quiet():
            if loaded is None or loaded.name != plan.model:
                loaded = None  # first, as there may not be memory for two
                settings = plan.settings
                loaded = load_model(plan.model, device=settings.device, dtype=settings.dtype)
                paces = Paces()
            yield estimate(plan, loaded, inputs, out, paces)
