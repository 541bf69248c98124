"""The tiny model that the project ships for its tests, loaded once."""

from __future__ import annotations

import functools
import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

TINY = Path(__file__).parent / "tiny"
"""Its folder, made by scripts/train_tiny_model.py."""


@functools.cache
def tiny_model() -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Model and tokenizer."""
    model = AutoModelForCausalLM.from_pretrained(TINY)
    return model.eval(), AutoTokenizer.from_pretrained(TINY)
