"""What a build found in the cells: their doses, and why some could not be read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import jiter
import xarray as xr

from isoklx.cells.files import COMPLETED
from isoklx.cells.sources import PMASS
from isoklx.errors import CellError


@dataclass(frozen=True)
class Reading:
    """The cells of a root, as the last build read them.

    Parameters
    ----------
    doses : mapping of str to int
        How many doses of each cell are complete, by ``run_id``, of those that could be read.
    by_dose : collection of str
        Those among them that are written dose by dose, and by another program than ``isoklx run``:
        nothing in their folders says how many doses are to come.
    skipped : mapping of str to CellError
        Those that could not be read, and why.
    """

    doses: Mapping[str, int] = field(default_factory=dict)
    by_dose: frozenset[str] = frozenset()
    skipped: Mapping[str, CellError] = field(default_factory=dict)


def reading_of(ds: xr.Dataset, root: Path, skipped: Iterable[CellError]) -> Reading:
    """Say what a build found.

    Parameters
    ----------
    ds : Dataset
        The sweep that was built; ``coeff`` and ``gen_len`` (cell, alpha, ...) say which cell has
        which dose, NaN where it has not.
    root : Path
        Its runs root.
    skipped : iterable of CellError
        What the build could not read.

    Returns
    -------
    Reading
    """
    measured = ds["coeff"].notnull() | (ds["gen_len"] >= 0).any("prompt")
    run_ids = [str(name) for name in ds["run_id"].values]
    doses = dict(zip(run_ids, map(int, measured.sum("alpha").values), strict=True))
    others = [
        run_id
        for run_id, text in zip(run_ids, ds["measured_with"].values.tolist(), strict=True)
        if not (text and "isoklx" in json.loads(text))
    ]
    completed = {run_id: _completed(root / run_id / PMASS) for run_id in others}
    by_dose = {run_id: count for run_id, count in completed.items() if count is not None}
    errors = {error.folder.name: error for error in skipped}
    return Reading(doses | by_dose, frozenset(by_dose), errors)


def _completed(path: Path) -> int | None:
    """How many doses a cell says are complete; None where it does not say."""
    try:
        found = jiter.from_json(path.read_bytes())
        return len(found[COMPLETED])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # the build has read it, so it is older, or was changed just now
