"""Estimates of a cell's tokens, memory and time, from sizes and the pace of a few tokens."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transformers import PreTrainedModel

from isoklx.cells.writing import recorded
from isoklx.engine.activations import answers as answers_of
from isoklx.engine.batches import batches_of, memory_of
from isoklx.engine.chat import AnswerIds
from isoklx.engine.context import batch_of, identified
from isoklx.engine.directions import LAYER, steering_in_file
from isoklx.engine.inputs import TRIES, Inputs, expected_tokens
from isoklx.engine.loading import LoadedModel
from isoklx.engine.pipeline import doses_at_once, missing, tried_at_once
from isoklx.engine.plans import CellPlan, Estimate
from isoklx.engine.rollouts import roll_out
from isoklx.engine.steering import Steering, layer_numbers
from isoklx.engine.tokenised import Tokenised
from isoklx.errors import UsageError


@dataclass(frozen=True)
class Outline:
    """Inputs that decide the batches of a cell."""

    alphas: Sequence[float]  # all requested doses
    tokenised: Tokenised
    device: str  # kind of device
    batch: int  # rollouts per batch
    padded: bool  # whether prompts of different length share a batch


@dataclass(frozen=True)
class Stage:
    """Rollouts of one kind: calibration prompts, held-out prompts, or questions."""

    rollouts: int  # maximum number
    batch: Sequence[Sequence[int]]  # prompts of the largest batch
    twins: bool  # whether a base row is decoded beside each row
    probes: bool  # whether it has forks


def stages_ahead(cell: Outline, doses: Sequence[float], tries: int = TRIES) -> list[Stage]:
    """List the stages of a cell that have rollouts left, in order; `tries` is 0 once calibrated."""
    given, alphas = cell.tokenised, cell.alphas
    groups = doses_at_once(alphas, len(given.prompts), cell.batch)
    left = [sum(alpha in doses for alpha in group) for group in groups]
    tried = [min(tried_at_once(cell.device, cell.batch, len(given.calib_prompts)), tries)]
    calibration = _stage(cell, given.calib_prompts, tried, tries, twins=True, probes=False)
    held_out = _stage(cell, given.prompts, left, len(doses), twins=True, probes=True)
    questions = _stage(cell, given.questions, left, len(doses), twins=False, probes=True)
    return [stage for stage in (calibration, held_out, questions) if stage.rollouts]


def _stage(
    cell: Outline,
    prompts: Sequence[Sequence[int]],
    side_by_side: Sequence[int],
    coefficients: int,
    *,
    twins: bool,
    probes: bool,
) -> Stage:
    """Combine every prompt with `coefficients` doses, `side_by_side` of them in each round."""
    batches = [
        [prompts[row % len(prompts)] for row in batch]
        for several in set(side_by_side)
        for batch in batches_of([*map(len, prompts)] * several, cell.batch, padded=cell.padded)
    ]
    largest = max(batches, key=_tokens, default=[])
    return Stage(len(prompts) * coefficients, largest, twins, probes)


def _tokens(batch: Sequence[Sequence[int]]) -> tuple[int, int]:
    return len(batch), max(map(len, batch))


log = logging.getLogger("isoklx.engine")

LEAST, STEPS = 4, 2
"""Maximum tokens per prompt that a timed batch reads, and tokens that it decodes."""

FEW, PATIENCE = 8, 0.5
"""Rows to time instead of a whole batch that would take longer than PATIENCE, in seconds: the time
of so slow a model is about proportional to the rows."""


def estimate(
    plan: CellPlan, loaded: LoadedModel, inputs: Inputs, out: Path, paces: Paces
) -> Estimate:
    """Estimate the cost of one cell, without its direction, self-tests and calibration."""
    given = identified(plan, loaded, inputs, out)
    loaded, tokenised, before = given.loaded, given.tokenised, given.before
    steering, there = _steering(plan, loaded, inputs), recorded(plan.folder(out))
    left = missing(plan.settings.alphas, () if there is None else there.alphas)
    tries = TRIES if there is None else 0
    outline = Outline(
        plan.settings.alphas,
        tokenised,
        loaded.model.device.type,
        batch_of(plan, loaded, tokenised, before),
        padded=before["measured_with"].get("padded", True) if before else True,
    )
    stages = stages_ahead(outline, left, tries)
    window, model = plan.settings.window, loaded.model
    log.info("%s: timing a few tokens", plan.run_id)
    return Estimate(
        plan,
        doses_there=len(plan.settings.alphas) - len(left),
        tokens=expected_tokens(inputs, plan.settings, doses=len(left), tries=tries),
        rows=max((len(stage.batch) for stage in stages), default=0),
        weights=int(model.get_memory_footprint()),
        working=max((_memory(model, stage, window, tokenised) for stage in stages), default=0),
        seconds=sum(
            _seconds(paces.of(model, steering, stage, tokenised.answers), stage, window, tokenised)
            for stage in stages
        ),
    )


def _steering(plan: CellPlan, loaded: LoadedModel, inputs: Inputs) -> Steering:
    """Return zeros at the cell's layers, or the file's vectors; refuse invalid layers or pairs."""
    if inputs.pairs is None:
        return steering_in_file(loaded, plan.settings)
    layers = layer_numbers(loaded.model, plan.settings.layer or (LAYER,))
    try:
        answers_of(loaded.model, loaded.tokenizer, inputs.pairs.rows, plan.settings.token)
    except UsageError as error:
        raise UsageError(f"{inputs.pairs.path}: {error}") from error
    hidden = loaded.model.config.get_text_config().hidden_size
    return Steering("add", {layer: np.zeros(hidden, np.float32) for layer in layers}, plan.method)


def _memory(model: PreTrainedModel, stage: Stage, window: int, given: Tokenised) -> int:
    """Return the bytes that the largest batch of a stage takes on top of the model."""
    longest = max(map(len, stage.batch))
    tail = len(given.tail) if stage.probes else 0
    return memory_of(model, len(stage.batch), longest, window, tail, twins=stage.twins)


@dataclass(frozen=True)
class _Pace:
    """Seconds per token of a row: read together with many others, and decoded."""

    reading: float
    decoding: float


class Paces:
    """Pace of a model for each shape of batch, measured once."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, bool], _Pace] = {}

    def of(
        self, model: PreTrainedModel, steering: Steering, stage: Stage, answers: AnswerIds
    ) -> _Pace:
        """Return the pace of a stage's largest batch."""
        shape = len(stage.batch), stage.twins
        if shape not in self._known:
            self._known[shape] = _measure_pace(model, steering, stage, answers)
        return self._known[shape]


def _measure_pace(
    model: PreTrainedModel, steering: Steering, stage: Stage, answers: AnswerIds
) -> _Pace:
    """Time the ends of a stage's prompts: a few rows first, all rows if those are fast."""
    short = [prompt[-LEAST:] for prompt in stage.batch]

    def tried(rows: int, window: int) -> float:
        return _tried(model, steering, short[:rows], answers, window=window, twins=stage.twins)

    rows = min(FEW, len(short))
    reading = tried(rows, 1)
    if reading * len(short) / rows <= PATIENCE:
        rows = len(short)
        reading = tried(rows, 1)
    decoding = max(tried(rows, 1 + STEPS) - reading, 0.0) / STEPS
    tokens = sum(map(len, short[:rows])) + stage.twins * sum(map(len, {*map(tuple, short[:rows])}))
    return _Pace(reading / tokens, decoding / rows)


def _seconds(pace: _Pace, stage: Stage, window: int, given: Tokenised) -> float:
    """Estimate a stage: prompts are read once, then tokens decoded; forks read the suffix."""
    rows = len(stage.batch)
    twins = sum(map(len, {*map(tuple, stage.batch)})) if stage.twins else 0
    reading = pace.reading * (sum(map(len, stage.batch)) + twins) / rows
    probing = pace.reading * len(given.tail) * len(given.forks) if stage.probes else 0.0
    return (reading + pace.decoding * (window - 1) + probing) * stage.rollouts


def _tried(
    model: PreTrainedModel,
    steering: Steering,
    prompts: Sequence[Sequence[int]],
    answers: AnswerIds,
    *,
    window: int,
    twins: bool,
) -> float:
    """Return the seconds of a rollout of a few tokens."""
    started = time.perf_counter()
    roll_out(
        model,
        steering,
        prompts,
        [1.0] * len(prompts),
        window=window,
        forks=(),
        tails=[[]],
        answers=answers,
        eos_ids=(),
        twins=twins,
    )
    return time.perf_counter() - started
