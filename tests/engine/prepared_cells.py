"""Contexts of cells of the tiny model, without making any cell."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from isoklx.engine.context import Cell, prepared
from isoklx.engine.inputs import Inputs, read_inputs
from isoklx.engine.loading import LoadedModel, load_model
from isoklx.engine.plans import CellPlan, cell_plans
from isoklx.engine.settings import Settings
from isoklx.engine.tokenised import Tokenised, tokenise
from tests.engine.small_runs import inputs
from tests.models.tiny_model import TINY


@functools.cache
def tiny() -> LoadedModel:
    return load_model(str(TINY))


def parts(folder: Path, **options: Any) -> tuple[CellPlan, Inputs, Tokenised]:
    """Return plan, inputs and token ids of a cell with few prompts."""
    method = options.pop("method", "mean_diff")
    files: dict[str, Any] = inputs(folder)
    if "vector" in options:
        del files["pairs"]
    settings = Settings(**{**files, "window": 8, "forks": 4, "batch": 4, **options})
    (plan,) = cell_plans([str(TINY)], [method], [0], "+", settings)
    read = read_inputs(settings)
    return plan, read, tokenise(tiny(), read, settings)


def cell(folder: Path, **options: Any) -> Cell:
    plan, read, _ = parts(folder, **options)
    return prepared(plan, tiny(), read, folder / "out")
