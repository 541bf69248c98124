"""What a run would take, said before it is begun: cells, tokens, memory and time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from isoklx.cells.writing import recorded
from isoklx.measure.cell_making import missing
from isoklx.measure.cell_parts import Cell, prepared
from isoklx.measure.inputs import TRIES, Inputs, expected_tokens
from isoklx.measure.loading import load_model, quiet
from isoklx.measure.memory import batch_memory
from isoklx.measure.meter import duration
from isoklx.measure.plans import CellPlan
from isoklx.measure.rollouts import roll_out

PROBE = 8
"""Tokens that a batch decodes to find how fast the model is here."""


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
    batch : int
        Rollouts at a time.
    weights, working : int
        Bytes of the model, and of a batch at its largest.
    seconds : float
        At the speed of a short try; shorter where rollouts end early.
    """

    plan: CellPlan
    doses_there: int
    tokens: int
    batch: int
    weights: int
    working: int
    seconds: float

    def __str__(self) -> str:
        if not self.tokens:
            return f"{self.plan.run_id}: is complete"
        there = f", {self.doses_there} of its doses are there" if self.doses_there else ""
        memory = f"{_bytes(self.weights)} for the model, {_bytes(self.working)} beside it"
        return (
            f"{self.plan.run_id}: at most {self.tokens} tokens{there}; "
            f"{self.batch} rollouts at a time; {memory}; about {duration(self.seconds)}"
        )


def _bytes(number: int) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"


def estimates(plans: Sequence[CellPlan], inputs: Inputs, out: Path) -> Iterator[Estimate]:
    """Estimate cell after cell; each model is loaded and tried, and nothing is written.

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

    Raises
    ------
    UsageError, MeasureError
        As a run would.
    """
    with quiet():
        yield from _estimates(plans, inputs, out)


def _estimates(plans: Sequence[CellPlan], inputs: Inputs, out: Path) -> Iterator[Estimate]:
    loaded = None
    for plan in plans:
        if loaded is None or loaded.name != plan.model:
            loaded = None  # first, as there may not be memory for two
            loaded = load_model(plan.model, device=plan.settings.device, dtype=plan.settings.dtype)
        cell = prepared(plan, loaded, inputs, out)
        before = recorded(plan.folder(out), cell.calib)
        left = missing(plan.settings.alphas, () if before is None else before.alphas)
        tries = TRIES if before is None else 0
        tokens = expected_tokens(inputs, plan.settings, doses=len(left), tries=tries)
        yield Estimate(
            plan,
            doses_there=len(plan.settings.alphas) - len(left),
            tokens=tokens,
            batch=cell.batch,
            weights=int(loaded.model.get_memory_footprint()),
            working=batch_memory(loaded.model, cell.tokenised, plan.settings.window, cell.batch),
            seconds=tokens * _seconds_a_token(cell) if tokens else 0.0,
        )


def _seconds_a_token(cell: Cell) -> float:
    """Of a full batch, forks and base twins included."""
    rows = min(cell.batch, len(cell.tokenised.prompts) * len(cell.plan.settings.alphas))
    prompts = [cell.tokenised.prompts[row % len(cell.tokenised.prompts)] for row in range(rows)]
    window = min(PROBE, cell.plan.settings.window)
    forks_a_token = len(cell.tokenised.forks) / cell.plan.settings.window
    started = time.perf_counter()
    roll_out(
        cell.loaded.model,
        cell.direction.steering,
        prompts,
        [cell.direction.start] * rows,
        window=window,
        forks=range(round(forks_a_token * window)),
        tails=[cell.tokenised.tail],
        answers=cell.tokenised.answers,
        eos_ids=(),
    )
    return (time.perf_counter() - started) / (rows * window)
