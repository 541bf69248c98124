"""Tokens, memory and time that a cell would take, from sizes and the pace of a few tokens."""

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
    """What decides the batches of a cell.

    Parameters
    ----------
    alphas : sequence of float
        All doses that are asked for.
    tokenised : Tokenised
        What the model is given.
    device : str
        Kind of device that it runs on.
    batch : int
        Rollouts at a time.
    padded : bool
        Whether prompts of different length may be in one batch.
    """

    alphas: Sequence[float]
    tokenised: Tokenised
    device: str
    batch: int
    padded: bool


@dataclass(frozen=True)
class Stage:
    """Rollouts of one kind: of the calibration, from held-out prompts, or from questions.

    Parameters
    ----------
    rollouts : int
        How many there are at most.
    batch : list of list of int
        Prompts of the largest batch, by rows and tokens.
    twins, asks : bool
        Whether a base row is decoded beside each, and whether forks are asked.
    """

    rollouts: int
    batch: Sequence[Sequence[int]]
    twins: bool
    asks: bool


def stages_ahead(cell: Outline, doses: Sequence[float], tries: int = TRIES) -> list[Stage]:
    """The stages of a cell, in their order.

    Parameters
    ----------
    cell : Outline
        What decides its batches.
    doses : sequence of float
        Those that are missing.
    tries : int
        Coefficients that the calibration is expected to try; 0 where it was done.

    Returns
    -------
    list of Stage
        Without those that have no rollout.
    """
    given, alphas = cell.tokenised, cell.alphas
    groups = doses_at_once(alphas, len(given.prompts), cell.batch)
    left = [sum(alpha in doses for alpha in group) for group in groups]
    tried = [min(tried_at_once(cell.device, cell.batch, len(given.calib_prompts)), tries)]
    calibration = _stage(cell, given.calib_prompts, tried, tries, twins=True, asks=False)
    held_out = _stage(cell, given.prompts, left, len(doses), twins=True, asks=True)
    asked = _stage(cell, given.questions, left, len(doses), twins=False, asks=True)
    return [stage for stage in (calibration, held_out, asked) if stage.rollouts]


def _stage(
    cell: Outline,
    prompts: Sequence[Sequence[int]],
    side_by_side: Sequence[int],
    coefficients: int,
    *,
    twins: bool,
    asks: bool,
) -> Stage:
    """Every prompt at some coefficients, so many of them in each round."""
    batches = [
        [prompts[row % len(prompts)] for row in batch]
        for several in set(side_by_side)
        for batch in batches_of([*map(len, prompts)] * several, cell.batch, padded=cell.padded)
    ]
    largest = max(batches, key=_tokens, default=[])
    return Stage(len(prompts) * coefficients, largest, twins, asks)


def _tokens(batch: Sequence[Sequence[int]]) -> tuple[int, int]:
    return len(batch), max(map(len, batch))


log = logging.getLogger("isoklx.engine")

LEAST, STEPS = 4, 2
"""Tokens of a prompt that a tried batch reads at most, and tokens that it decodes."""

FEW, PATIENCE = 8, 0.5
"""Rows that stand for all of a batch which would take more seconds than this to read a few tokens:
a model that is so slow takes about as long for each row."""


def estimate(
    plan: CellPlan, loaded: LoadedModel, inputs: Inputs, out: Path, paces: Paces
) -> Estimate:
    """Estimate what one cell would take, without its direction, self-tests or calibration.

    Parameters
    ----------
    plan : CellPlan
        Which cell.
    loaded : LoadedModel
        Its model.
    inputs : Inputs
        What the model is given.
    out : Path
        The runs root, where some of the cell may be already.
    paces : Paces
        How fast the model was in earlier cells.

    Returns
    -------
    Estimate
        Of batches of prompts of different length, unless the cell was begun without.

    Raises
    ------
    UsageError, MeasureError
        As making the cell would, as far as that needs no rollout.
    """
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
    """Vectors of zeros at the cell's layers, or those of its file; raise if neither will do."""
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
    """Bytes that the largest batch of a stage takes beside the model."""
    longest = max(map(len, stage.batch))
    tail = len(given.tail) if stage.asks else 0
    return memory_of(model, len(stage.batch), longest, window, tail, twins=stage.twins)


@dataclass(frozen=True)
class _Pace:
    """Seconds for a token of a row that is read with many others, and for one that is decoded."""

    reading: float
    decoding: float


class Paces:
    """The pace of a model for each shape of a batch, tried once."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, bool], _Pace] = {}

    def of(
        self, model: PreTrainedModel, steering: Steering, stage: Stage, answers: AnswerIds
    ) -> _Pace:
        """Return the pace of a stage's largest batch."""
        shape = len(stage.batch), stage.twins
        if shape not in self._known:
            self._known[shape] = _pace(model, steering, stage, answers)
        return self._known[shape]


def _pace(model: PreTrainedModel, steering: Steering, stage: Stage, answers: AnswerIds) -> _Pace:
    """Try the beginnings of a stage's prompts, at first of a few rows."""
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
    """Prompts are read once, then token by token; at each fork the tail is read."""
    rows = len(stage.batch)
    twins = sum(map(len, {*map(tuple, stage.batch)})) if stage.twins else 0
    reading = pace.reading * (sum(map(len, stage.batch)) + twins) / rows
    asking = pace.reading * len(given.tail) * len(given.forks) if stage.asks else 0.0
    return (reading + pace.decoding * (window - 1) + asking) * stage.rollouts


def _tried(
    model: PreTrainedModel,
    steering: Steering,
    prompts: Sequence[Sequence[int]],
    answers: AnswerIds,
    *,
    window: int,
    twins: bool,
) -> float:
    """Seconds that some rows take for a few tokens."""
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
