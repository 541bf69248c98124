"""What a cell has still to roll out: its rollouts of each kind, and the largest batch of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from isoklx.measure.batches import batches_of
from isoklx.measure.cell_making import doses_at_once, tried_at_once
from isoklx.measure.inputs import TRIES
from isoklx.measure.tokenised import Tokenised


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
