"""What two measurements of a cell were made with, and whether of the same prompts."""

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
"""Doses or forks that are all listed."""

ABSENT = "not recorded"

IDENTITY = "identity."
"""Begins the names of what `measured_with` identifies by content."""

LENGTHS = {"prompt": "gen_len", "question": "gen_len_qa"}
"""The variables that say which prompts and questions a cell has."""

Settings = dict[str, str]


class CellSettings:
    """The settings of each cell of a sweep, by name and as text.

    Parameters
    ----------
    ds : Dataset
        A sweep, with all its dimensions.
    """

    def __init__(self, ds: xr.Dataset) -> None:
        schema.require(ds, ["model", "layer", "target_kl", "alpha", *LENGTHS.values()])
        self._ds = ds
        self._ran = _ran(ds)
        self._forks = _forks(ds)
        self.units = {
            unit: ds[length].notnull().any("alpha").values for unit, length in LENGTHS.items()
        }
        """Which prompts, and questions, each cell has."""

    def doses(self, cell: int) -> npt.NDArray[np.float64]:
        """The doses that a cell was run at."""
        doses: npt.NDArray[np.float64] = self._ds["alpha"].values[self._ran[cell]]
        return doses

    def known(self, cell: int) -> Settings:
        """The settings that every cell has, in whatever way it was measured."""
        ds = self._ds
        return {
            "model": str(ds["model"].values[cell]),
            "layer": str(ds["layer"].values[cell]),
            "target_kl": f"{ds['target_kl'].values[cell]:.12g}",
            "target_stat": str(ds["target_stat"].values[cell]) if "target_stat" in ds else "p95",
            "doses": _listed(self.doses(cell)),
            "prompts": str(self.units["prompt"][cell].sum()),
            "questions": str(self.units["question"][cell].sum()),
            "forks": _listed(ds["fork"].values[self._forks[cell]]) if "fork" in ds else "none",
        }

    def recorded(self, cell: int) -> Settings:
        """What `measured_with` says, whatever lies in it by a name with dots."""
        text = str(self._ds["measured_with"].values[cell]) if "measured_with" in self._ds else ""
        return _flat(json.loads(text)) if text else {}

    def identity(self, cell: int) -> Settings:
        """Identities that `measured_with` records by content, such as "chat template"."""
        recorded = self.recorded(cell)
        return {
            name.removeprefix(IDENTITY).replace("_", " "): value
            for name, value in recorded.items()
            if name.startswith(IDENTITY)
        }

    def texts(self, cell: int) -> list[str] | None:
        """The prompts themselves, None unless each of them is known."""
        if "prompt_text" not in self._ds:
            return None
        there = self.units["prompt"][cell]
        texts = [str(each) for each in self._ds["prompt_text"].values[cell][there]]
        return texts if texts and all(texts) else None


def changed_settings(
    a: CellSettings, i: int, b: CellSettings, j: int
) -> dict[str, tuple[str, str]]:
    """List the settings in which two measurements of a cell differ.

    Parameters
    ----------
    a, b : CellSettings
        Of the sweeps that they are of.
    i, j : int
        Their places there.

    Returns
    -------
    dict
        What each setting was in `a` and in `b`, by name; those that `measured_with` holds by their
        path in it, and of identities the last part. Where only one of them has any of
        `measured_with` or of identities, that is one difference, not as many as it holds.
    """
    known, recorded = (a.known(i), b.known(j)), (a.recorded(i), b.recorded(j))
    if bool(recorded[0]) != bool(recorded[1]):
        return _differing(*known) | {"measured_with": _recorded_in(*recorded)}
    # What is known of the numbers themselves was not always recorded in the same words.
    differing = _differing(*known) | {
        name: values
        for name, values in _differing(*recorded).items()
        if name not in known[0] and not name.startswith(IDENTITY)
    }
    identities = a.identity(i), b.identity(j)
    if bool(identities[0]) != bool(identities[1]):
        return differing | {"identity": _recorded_in(*identities)}
    return differing | _differing(*identities)


def same_prompts(metric: str, a: CellSettings, i: int, b: CellSettings, j: int) -> str:
    """Tell whether two cells met the same prompts (questions, of pmass), and what says so.

    Returns
    -------
    str
        ``"same texts"``, ``"same hash"`` (of the file of prompts, in ``measured_with``), ``"same
        number"`` where nothing else is known; ``"different"``; ``"none"`` where one has none.
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


def _recorded_in(a: Settings, b: Settings) -> tuple[str, str]:
    return "recorded" if a else ABSENT, "recorded" if b else ABSENT


def _differing(a: Settings, b: Settings) -> dict[str, tuple[str, str]]:
    both = {name: (a.get(name, ABSENT), b.get(name, ABSENT)) for name in dict.fromkeys([*a, *b])}
    return {name: (was, now) for name, (was, now) in both.items() if was != now}


def _ran(ds: xr.Dataset) -> npt.NDArray[np.bool_]:
    """Where each cell was run: any number at a dose."""
    ran = np.zeros((ds.sizes["cell"], ds.sizes["alpha"]), dtype=bool)
    if "kl_p95" in ds:
        ran |= ds["kl_p95"].notnull().values
    for unit, length in LENGTHS.items():
        ran |= ds[length].notnull().any(unit).values
    return ran


def _forks(ds: xr.Dataset) -> npt.NDArray[np.bool_]:
    """Where each cell was asked, at prompts or at questions."""
    asked = np.zeros((ds.sizes["cell"], ds.sizes.get("fork", 0)), dtype=bool)
    for name, metric in METRICS.items():
        if metric.time == "fork" and name in ds:
            asked |= ds[name].notnull().any(["alpha", metric.unit]).values
    return asked


def _flat(recorded: Any, before: str = "") -> Settings:
    """The values of an object, and of those within it, as texts by their path."""
    found: Settings = {}
    for name, value in recorded.items():
        if isinstance(value, dict):
            found |= _flat(value, f"{before}{name}.")
        else:
            found[f"{before}{name}"] = value if isinstance(value, str) else json.dumps(value)
    return found


def _listed(numbers: Sequence[float] | npt.NDArray[Any]) -> str:
    texts = [f"{each:.12g}" for each in numbers]
    more = f" and {len(texts) - MOST} more" if len(texts) > MOST else ""
    return (", ".join(texts[:MOST]) + more) or "none"
