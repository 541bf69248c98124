"""Batches of rollouts: their rows, their memory, and the fallback when memory runs out."""

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
"""Tokens that are read to find the memory of one."""


def batches_of(lengths: Sequence[int], size: int, *, padded: bool = True) -> list[list[int]]:
    """Group row numbers into batches of at most `size`, prompts of similar length together."""
    # Depends on the arguments only, so that an interrupted run makes the same batches again.
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
    """Yield rows and result of each batch; when memory runs out, halve the batches from then on."""
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
            raise MeasureError("memory ran out with a single row: reduce the window")
        largest = (len(rows) + 1) // 2
        say(f"memory ran out with {len(rows)} rows: continuing with {largest} at a time")
        left.appendleft(rows)


def memory_of(
    model: PreTrainedModel, rows: int, prompt: int, window: int, tail: int, *, twins: bool = True
) -> int:
    """Estimate the bytes that a batch takes beyond the model, at its peak.

    The cache of a few tokens is measured, as its size per token depends on the architecture. The
    peak is the cache of all rows and of a branch with its suffix, the suffix's activations and the
    logits; or the activations of the prompts, if these take more.
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
    per_token = model.dtype.itemsize * (3 * wide + 4 * config.hidden_size)
    # While the prompts are read, neither other tokens nor a branch exist yet.
    prompts, tails = together * prompt * per_token, rows * tail * per_token
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
        # torch raises a plain RuntimeError on a CPU.
        if "can't allocate memory" not in str(error) and "not enough memory" not in str(error):
            raise
    # Collect here, once the traceback that held the batch's tensors is gone.
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


SHARE = 0.6
"""Fraction of the free memory that a batch may use."""

MOST = {"cpu": 32, "cuda": 256}
"""Rows beyond which a batch gets no faster, and costs more when it is lost."""


def rows_that_fit(model: PreTrainedModel, tokenised: Tokenised, window: int) -> int:
    """Return the number of rollouts that fit in memory, rounded down to a power of two."""
    longest = max(map(len, (*tokenised.prompts, *tokenised.calib_prompts)))
    each = memory_of(model, 1, longest, window, len(tokenised.tail))
    rows = min(int(SHARE * free_memory(model.device) / each), MOST.get(model.device.type, 64))
    return 1 << (max(rows, 1).bit_length() - 1)


def free_memory(device: torch.device) -> int:
    """Return the free bytes on a device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
