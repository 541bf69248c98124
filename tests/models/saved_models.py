"""Random models in folders, with a tokenizer, as anybody's model comes."""

from __future__ import annotations

import string
from pathlib import Path

from isoklx.engine.loading import quiet
from tests.engine.tokenizers_of_characters import CHATML, tokenizer_of_characters
from tests.models.random_models import random_model

CHARACTERS = string.ascii_letters + ' .,:?{}"\n'
"""With special tokens and answers fewer than the random models know."""


def saved_model(name: str, folder: Path, template: str | None = CHATML) -> Path:
    """Save a random model below a folder; where it is."""
    where = folder / name
    with quiet():
        random_model(name).save_pretrained(where)
    tokenizer_of_characters(template, characters=CHARACTERS).save_pretrained(where)
    return where
