"""A model that is measured is not trained: no dropout, and afterwards as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from transformers import PreTrainedModel


@contextmanager
def at_rest(model: PreTrainedModel) -> Iterator[None]:
    """Switch dropout off within; what was being trained is so again afterwards.

    Parameters
    ----------
    model : PreTrainedModel
        Any model, some parts of which may be in training mode.
    """
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
