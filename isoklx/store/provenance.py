"""Global attributes of a file, by CF-1.11 and ACDD-1.3."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from isoklx import schema
from isoklx._version import __version__
from isoklx.cells.reading import Cell
from isoklx.errors import CellError
from isoklx.system.terminal import printable

SUMMARY = (
    "Per-token KL(steered || base) and probability mass on valid answers (pmass) of language-model "
    "rollouts under a steering vector, at doses alpha relative to the coefficient c_star that "
    "iso-KL calibration found. One cell is one (model, method, side, temperature, seed, window)."
)

DATED = ("history", "date_created")
"""Attributes that differ between two builds of the same cells."""


SKIPPED = "skipped_cells"
"""Attribute that lists the unreadable cells with reasons, one per line."""


def global_attributes(
    cells: Sequence[Cell], roots: Sequence[Path], skipped: Sequence[CellError] = ()
) -> dict[str, object]:
    """Return the attributes that describe a sweep and its origin; times are UTC."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    names = " ".join(root.resolve().name for root in roots)
    labels = [cell.labels for cell in cells]
    unread = [f"{Path(error.folder.name, error.file)}: {error.reason}" for error in skipped]
    return {
        "Conventions": schema.CONVENTIONS,
        "title": title((each["model_short"] for each in labels), (e["method"] for e in labels)),
        "summary": SUMMARY,
        "keywords": "language models, activation steering, iso-KL calibration, KL divergence",
        "source": f"JSON of {len(cells)} runs under {names}",
        "history": f"{now} isoklx {__version__}: build {names}",
        "date_created": now,
        "creation_library": "isoklx",
        "creation_library_version": __version__,
        "schema_version": np.int32(schema.SCHEMA_VERSION),
        **({SKIPPED: "\n".join(map(printable, unread))} if unread else {}),
    }


def title(models: Iterable[object], methods: Iterable[object]) -> str:
    """Return the title of a sweep."""
    return f"iso-KL steering sweep of {some(map(str, models))}: {some(map(str, methods))}"


def some(names: Iterable[str], most: int = 4) -> str:
    """Return the sorted distinct names; beyond `most`, the number of the others."""
    distinct = sorted(set(names))
    if len(distinct) <= most:
        return ", ".join(distinct)
    return f"{', '.join(distinct[:most])} and {len(distinct) - most} more"
