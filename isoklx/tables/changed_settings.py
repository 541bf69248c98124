"""Settings in which two measurements of a cell differ, and the evidence for equal prompts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from isoklx import schema
from isoklx.stats.endpoint import METRICS

MOST = 24
"""Largest number of doses or forks listed."""

ABSENT = "not recorded"

IDENTITY = "identity."
"""Prefix of the names of what `measured_with` identifies by content."""

LENGTHS = {"prompt": "gen_len", "question": "gen_len_qa"}
"""Variables that show which prompts and questions a cell has."""

Settings = dict[str, str]


class CellSettings:
    """Settings of each cell of a sweep, as text by name."""

    def __init__(self, ds: xr.Dataset) -> None:
        schema.require(ds, ["model", "layer", "target_kl", "alpha", *LENGTHS.values()])
        self._ds = ds
        self._was_run = _was_run(ds)
        self._was_probed = _was_probed(ds)
        self.units = {
            unit: ds[length].notnull().any("alpha").values for unit, length in LENGTHS.items()
        }
        """Masks (cell, prompt) and (cell, question) of those with results."""

    def doses(self, cell: int) -> npt.NDArray[np.float64]:
        """Return the doses at which a cell was run."""
        doses: npt.NDArray[np.float64] = self._ds["alpha"].values[self._was_run[cell]]
        return doses

    def known(self, cell: int) -> Settings:
        """Return the settings that every cell has, however it was measured."""
        ds = self._ds
        return {
            "model": str(ds["model"].values[cell]),
            "layer": str(ds["layer"].values[cell]),
            "target_kl": f"{ds['target_kl'].values[cell]:.12g}",
            "target_stat": str(ds["target_stat"].values[cell]) if "target_stat" in ds else "p95",
            "doses": _join(self.doses(cell)),
            "prompts": str(self.units["prompt"][cell].sum()),
            "questions": str(self.units["question"][cell].sum()),
            "forks": _join(ds["fork"].values[self._was_probed[cell]]) if "fork" in ds else "none",
        }

    def recorded(self, cell: int) -> Settings:
        """Return the settings in `measured_with`; dots join the names of nested objects."""
        text = str(self._ds["measured_with"].values[cell]) if "measured_with" in self._ds else ""
        return _flatten(json.loads(text)) if text else {}

    def identity(self, cell: int) -> Settings:
        """Return what `measured_with` identifies by content, such as "chat template"."""
        recorded = self.recorded(cell)
        return {
            name.removeprefix(IDENTITY).replace("_", " "): value
            for name, value in recorded.items()
            if name.startswith(IDENTITY)
        }

    def texts(self, cell: int) -> list[str] | None:
        """Return the text of all prompts of a cell, or None if any is unknown."""
        if "prompt_text" not in self._ds:
            return None
        there = self.units["prompt"][cell]
        texts = [str(each) for each in self._ds["prompt_text"].values[cell][there]]
        return texts if texts and all(texts) else None


def changed_settings(
    a: CellSettings, i: int, b: CellSettings, j: int
) -> dict[str, tuple[str, str]]:
    """Return the settings in which cell `i` of `a` and cell `j` of `b` differ, with both values.

    Settings in `measured_with` are named by their path, identities by its last part. If only one
    cell recorded either of the two, that counts as one difference.
    """
    known, recorded = (a.known(i), b.known(j)), (a.recorded(i), b.recorded(j))
    if bool(recorded[0]) != bool(recorded[1]):
        return _differences(*known) | {"measured_with": _recorded_by(*recorded)}
    # Skip what `known` covers: cells do not all record it in the same words.
    differing = _differences(*known) | {
        name: values
        for name, values in _differences(*recorded).items()
        if name not in known[0] and not name.startswith(IDENTITY)
    }
    identities = a.identity(i), b.identity(j)
    if bool(identities[0]) != bool(identities[1]):
        return differing | {"identity": _recorded_by(*identities)}
    return differing | _differences(*identities)


def same_prompts(metric: str, a: CellSettings, i: int, b: CellSettings, j: int) -> str:
    """Return the evidence that two cells had the same prompts (for pmass, the same questions).

    It is "same texts", "same hash" (of the prompt file, in ``measured_with``), "same number" if
    nothing more is known, "different", or "none" if a cell has no prompts.
    """
    unit = METRICS[metric].unit
    in_a, in_b = a.units[unit][i], b.units[unit][j]
    if not in_a.any() or not in_b.any():
        return "none"
    if np.flatnonzero(in_a).tolist() != np.flatnonzero(in_b).tolist():
        return "different"
    texts = (a.texts(i), b.texts(j)) if unit == "prompt" else (None, None)
    if None not in texts:
        return "same texts" if texts[0] == texts[1] else "different"
    hashes = [each.get(f"sha256.{unit}s") for each in (a.recorded(i), b.recorded(j))]
    if None not in hashes:
        return "same hash" if hashes[0] == hashes[1] else "different"
    return "same number"


def _recorded_by(a: Settings, b: Settings) -> tuple[str, str]:
    return "recorded" if a else ABSENT, "recorded" if b else ABSENT


def _differences(a: Settings, b: Settings) -> dict[str, tuple[str, str]]:
    both = {name: (a.get(name, ABSENT), b.get(name, ABSENT)) for name in dict.fromkeys([*a, *b])}
    return {name: (was, now) for name, (was, now) in both.items() if was != now}


def _was_run(ds: xr.Dataset) -> npt.NDArray[np.bool_]:
    """Return a mask (cell, alpha) of doses with any result."""
    ran = np.zeros((ds.sizes["cell"], ds.sizes["alpha"]), dtype=bool)
    if "kl_p95" in ds:
        ran |= ds["kl_p95"].notnull().values
    for unit, length in LENGTHS.items():
        ran |= ds[length].notnull().any(unit).values
    return ran


def _was_probed(ds: xr.Dataset) -> npt.NDArray[np.bool_]:
    """Return a mask (cell, fork) of forks probed at any prompt or question."""
    asked = np.zeros((ds.sizes["cell"], ds.sizes.get("fork", 0)), dtype=bool)
    for name, metric in METRICS.items():
        if metric.time == "fork" and name in ds:
            asked |= ds[name].notnull().any(["alpha", metric.unit]).values
    return asked


def _flatten(recorded: Any, before: str = "") -> Settings:
    """Flatten nested objects to texts by dotted path."""
    found: Settings = {}
    for name, value in recorded.items():
        if isinstance(value, dict):
            found |= _flatten(value, f"{before}{name}.")
        else:
            found[f"{before}{name}"] = value if isinstance(value, str) else json.dumps(value)
    return found


def _join(numbers: Sequence[float] | npt.NDArray[Any]) -> str:
    texts = [f"{each:.12g}" for each in numbers]
    more = f" and {len(texts) - MOST} more" if len(texts) > MOST else ""
    return (", ".join(texts[:MOST]) + more) or "none"
