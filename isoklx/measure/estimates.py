"""What a run would take, said before it is begun: cells, tokens, memory and time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from isoklx.cells.writing import recorded
from isoklx.measure.batches import memory_of
from isoklx.measure.cell_making import missing
from isoklx.measure.cell_parts import Cell, prepared
from isoklx.measure.inputs import TRIES, Inputs, expected_tokens
from isoklx.measure.loading import load_model, quiet
from isoklx.measure.meter import duration
from isoklx.measure.plans import CellPlan
from isoklx.measure.rollouts import roll_out
from isoklx.measure.work_ahead import Stage, stages_ahead

PROBE = 9
"""Tokens that a batch decodes at most to find how fast the model is here."""

FEW, PATIENCE = 8, 2.0
"""Rows that stand for all of a batch which would take more seconds than this to read its prompts:
a model that is so slow takes about as long for each row."""


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
        At the speed of short tries of the largest batches; shorter where rollouts end early.
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
        memory = f"{_bytes(self.weights)} for the model, {_bytes(self.working)} beside it"
        return (
            f"{self.plan.run_id}: at most {self.tokens} tokens{there}; "
            f"{self.rows} rollouts at a time; {memory}; about {duration(self.seconds)}"
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
        stages = stages_ahead(cell, left, tries)
        yield Estimate(
            plan,
            doses_there=len(plan.settings.alphas) - len(left),
            tokens=expected_tokens(inputs, plan.settings, doses=len(left), tries=tries),
            rows=max((len(stage.batch) for stage in stages), default=0),
            weights=int(loaded.model.get_memory_footprint()),
            working=max((_memory(cell, stage) for stage in stages), default=0),
            seconds=sum(_seconds(cell, stage) for stage in stages),
        )


def _memory(cell: Cell, stage: Stage) -> int:
    """Bytes that the largest batch of a stage takes beside the model."""
    return memory_of(
        cell.loaded.model,
        len(stage.batch),
        max(map(len, stage.batch)),
        cell.plan.settings.window,
        len(cell.tokenised.tail) if stage.asks else 0,
        twins=stage.twins,
    )


def _seconds(cell: Cell, stage: Stage) -> float:
    """At the pace of its largest batch: prompts are read once, then token by token, and asked."""
    window = cell.plan.settings.window
    few, tokens = stage.batch[-FEW:], min(PROBE, window)
    reading = _tried(cell, stage, few, window=1)
    if len(few) < len(stage.batch) and reading * len(stage.batch) / len(few) <= PATIENCE:
        few = stage.batch
        reading = _tried(cell, stage, few, window=1)
    decoding = _tried(cell, stage, few, window=tokens)
    each = max(decoding - reading, 0.0) / max(tokens - 1, 1)
    asking = 0.0
    if stage.asks:
        asked = _tried(cell, stage, few, window=tokens, forks=range(tokens))
        asking = max(asked - decoding, 0.0) / tokens * len(cell.tokenised.forks)
    return (reading + each * (window - 1) + asking) * stage.rollouts / len(few)


def _tried(
    cell: Cell,
    stage: Stage,
    prompts: Sequence[Sequence[int]],
    *,
    window: int,
    forks: Sequence[int] = (),
) -> float:
    """Seconds that some rows of a stage take for a few tokens."""
    started = time.perf_counter()
    roll_out(
        cell.loaded.model,
        cell.direction.steering,
        prompts,
        [cell.direction.start] * len(prompts),
        window=window,
        forks=forks,
        tails=[cell.tokenised.tail],
        answers=cell.tokenised.answers,
        eos_ids=(),
        twins=stage.twins,
    )
    return time.perf_counter() - started
