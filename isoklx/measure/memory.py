"""How many rollouts fit into memory side by side."""

from __future__ import annotations

import os

import torch
from transformers import PreTrainedModel

from isoklx.measure.batches import memory_of
from isoklx.measure.tokenised import Tokenised

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
