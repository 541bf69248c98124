"""Which rows are rolled out together, what memory that takes, and what happens without it."""

from __future__ import annotations

import gc
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
from transformers import PreTrainedModel

from isoklx.engine.caches import ROOM, Contexts, at_rest, reads_together
from isoklx.engine.tokenised import Tokenised
from isoklx.errors import MeasureError

Result = TypeVar("Result")

SHORT = 16
"""Tokens that are read to find how much memory one takes."""


def batches_of(lengths: Sequence[int], size: int, *, padded: bool = True) -> list[list[int]]:
    """Put rows together, those of equal prompts' length first of all.

    Parameters
    ----------
    lengths : sequence of int
        Tokens of each row's prompt.
    size : int
        Rows in a batch at most.
    padded : bool
        Whether prompts of different length may be in one batch, padded on the left.

    Returns
    -------
    list of list of int
        Numbers of rows, each once. They depend on the arguments alone: a run that was interrupted
        makes the same batches again.

    Examples
    --------
    >>> batches_of([5, 7, 5, 7, 5], 2)
    [[0, 2], [4, 1], [3]]
    >>> batches_of([5, 7, 5, 7, 5], 2, padded=False)
    [[0, 2], [4], [1, 3]]
    """
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: (lengths[row], row)):
        batch = batches[-1] if batches else []
        fits = 0 < len(batch) < size and (padded or lengths[batch[0]] == lengths[row])
        if fits:
            batch.append(row)
        else:
            batches.append([row])
    return batches


def each_batch(
    batches: Sequence[Sequence[int]],
    work: Callable[[list[int]], Result],
    say: Callable[[str], None],
) -> Iterator[tuple[list[int], Result]]:
    """Work on one batch after the other; where memory runs out, on half as many rows from then on.

    Parameters
    ----------
    batches : sequence of sequence of int
        Numbers of rows, see :func:`batches_of`.
    work : callable
        Rolls out the rows of one batch.
    say : callable
        Is given one line where a batch is halved.

    Yields
    ------
    tuple
        The rows of a batch that was worked on, and what came of it.

    Raises
    ------
    MeasureError
        If memory runs out with a single row.
    """
    left = deque(list(batch) for batch in batches)
    largest = max(map(len, batches), default=1)
    while left:
        rows = left.popleft()
        if len(rows) > largest:
            left.extendleft(reversed(_parts(rows, largest)))
            continue
        done = _unless_out_of_memory(work, rows)
        if done is not None:
            yield rows, done[0]
            continue
        if len(rows) == 1:
            raise MeasureError("memory runs out with a single row: take a shorter window")
        largest = (len(rows) + 1) // 2
        say(f"memory ran out with {len(rows)} rows: going on with {largest} at a time")
        left.appendleft(rows)


def memory_of(
    model: PreTrainedModel, rows: int, prompt: int, window: int, tail: int, *, twins: bool = True
) -> int:
    """Memory that a batch takes beyond the model itself, at its largest.

    Found from the cache of a few tokens: what a model keeps of each depends on the architecture.

    Parameters
    ----------
    model : PreTrainedModel
        A causal language model.
    rows : int
        Steered rows of the batch.
    prompt, window, tail : int
        Tokens of the longest prompt, of the rollout and of the longest tail.
    twins : bool
        Whether base rows are decoded beside the steered ones.

    Returns
    -------
    int
        Bytes: the cache of all rows and of a branch with its tail, the tail's activations, the
        logits and what KL takes; or the activations of the prompts, where these are more.
    """
    config = model.config.get_text_config()
    together = rows * (2 if twins else 1)
    ids = np.random.default_rng(0).integers(0, config.vocab_size, SHORT)
    contexts = Contexts(model, together=reads_together(model))
    with at_rest(model):
        contexts.start([ids.tolist()])
    caches = contexts.nbytes(prompt + window, ROOM) * together
    if tail:
        caches += contexts.nbytes(prompt + window + tail) * rows
    logits = 4 * config.vocab_size * together * 3
    wide = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    of_token = model.dtype.itemsize * (3 * wide + 4 * config.hidden_size)
    # When the prompts are read there are no other tokens yet, and no branch.
    prompts, tails = together * prompt * of_token, rows * tail * of_token
    return int(max(caches + tails + logits, prompts))


def _parts(rows: list[int], size: int) -> list[list[int]]:
    return [rows[begin : begin + size] for begin in range(0, len(rows), size)]


def _unless_out_of_memory(
    work: Callable[[list[int]], Result], rows: list[int]
) -> tuple[Result] | None:
    try:
        return (work(rows),)
    except (torch.OutOfMemoryError, MemoryError):
        pass
    except RuntimeError as error:
        # What torch raises on a CPU has no class of its own.
        if "can't allocate memory" not in str(error) and "not enough memory" not in str(error):
            raise
    # Only here is the traceback gone that held the batch's tensors.
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


SHARE = 0.6
"""Of the memory that is free, for one batch."""

MOST = {"cpu": 32, "cuda": 256}
"""Rows beyond which a batch is not faster any more, and costs more when it is lost."""


def rows_that_fit(model: PreTrainedModel, tokenised: Tokenised, window: int) -> int:
    """Rollouts at a time: a power of two, at least 1."""
    longest = max(map(len, (*tokenised.prompts, *tokenised.calib_prompts)))
    each = memory_of(model, 1, longest, window, len(tokenised.tail))
    rows = min(int(SHARE * free_memory(model.device) / each), MOST.get(model.device.type, 64))
    return 1 << (max(rows, 1).bit_length() - 1)


def free_memory(device: torch.device) -> int:
    """Bytes that are free where a model lies."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
