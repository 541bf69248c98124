"""Rollouts of the page, compressed one by one so that a browser unpacks only what is read."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from isoklx import schema
from isoklx.stats.deduplication import compare
from isoklx.stats.endpoint import METRICS, checked_thresholds, lifetimes
from isoklx.stats.selection import restore_dims, with_absent
from isoklx.stats.trajectories import default_roll, paired_pmass, smooth

LEAST, MOST = 1e-4, 100.0
"""Nats; values beyond this range are clipped."""

STEPS = 254
RATIO = (MOST / LEAST) ** (1 / STEPS)
"""Ratio of successive levels: 1.056, so that a KL is exact to 3%."""


def levels(kl: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.uint8]:
    """Code KL in nats: 0 is missing, level i from 1 to 255 is ``LEAST * RATIO ** (i - 1)``."""
    known = np.isfinite(kl)
    clipped = np.clip(np.where(known, kl, LEAST), LEAST, MOST)
    coded = 1 + np.rint(np.log(clipped / LEAST) / np.log(RATIO))
    return np.where(known, coded, 0).astype(np.uint8)


def thousandths(kl: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.uint16]:
    """Code KL in thousandths of a nat in two bytes; 65535 is missing."""
    known = np.isfinite(kl)
    coded = np.rint(np.clip(np.where(known, kl, 0), 0, 65.534) * 1000)
    return np.where(known, coded, 65535).astype("<u2")


BUDGET = 11 * 2**20
"""Maximum number of characters of the rollouts in the page."""

COLUMNS = 128
"""Points per line in the figure of the rollouts of a dose."""

SAMPLE = 12
"""Packs that are made to estimate the size of all."""


@dataclass(frozen=True)
class Rollouts:
    """Rollouts for the page."""

    index: dict[str, Any]  # for JSON: cells, doses, prompts, forks, and the place of each pack
    packed: str  # packs in base64, concatenated
    n: int  # distinct rollouts of the sweep
    n_held: int  # distinct rollouts in `packed`
    texts: bool  # whether any rollout has its text


def pack_rollouts(
    ds: xr.Dataset, threshold: float | None = None, budget: int = BUDGET
) -> Rollouts | None:
    """Pack the rollouts of each cell and dose; return None if the sweep has none.

    If they exceed `budget` characters, only evenly spread prompts are kept, the same at every cell
    and dose. Duplicates are stored once. Texts are included if `ds` has them.
    """
    schema.require(ds, ["kl", "gen_len", "window", "c_star", "target_kl", "run_id", "method"])
    ds = with_absent(restore_dims(ds), ["pmass_eval", "repetition"])
    ran = ds["gen_len"].notnull() & (ds["gen_len"] > 0)
    if not ran.any():
        return None
    source = _Source.of(ds, threshold)
    pairs = [
        (int(cell), int(alpha))
        for cell, alpha in np.argwhere(ran.any("prompt").transpose("cell", "alpha").values)
        if source.first[cell, alpha] == cell
    ]
    n_prompts = ds.sizes["prompt"]
    held = _evenly_spaced(n_prompts, _prompts_within_budget(source, pairs, n_prompts, budget))
    packs = dict(source.packs(pairs, held))
    places: dict[str, list[int]] = {}
    at = 0
    for (cell, alpha), pack in packs.items():
        places[f"{cell} {alpha}"] = [at, len(pack)]
        at += len(pack)
    for cell, alpha in np.argwhere(ran.any("prompt").transpose("cell", "alpha").values).tolist():
        first = int(source.first[cell, alpha])
        places.setdefault(f"{cell} {alpha}", places.get(f"{first} {alpha}", [0, 0]))
    once = ran.values & (source.first == np.arange(len(source.first))[:, None])[..., None]
    index = {
        **source.labels(),
        "prompts": held.tolist(),
        "places": places,
        "least": LEAST,
        "ratio": RATIO,
        "threshold": source.threshold,
    }
    return Rollouts(
        index,
        "".join(packs.values()),
        n=int(once.sum()),
        n_held=int(once[:, :, held].sum()),
        texts=source.texts(),
    )


def _evenly_spaced(n: int, k: int) -> npt.NDArray[np.intp]:
    """Return k of n indices, evenly spread, with the first one."""
    return np.unique(np.linspace(0, n - 1, k).round().astype(np.intp)) if k > 1 else np.arange(1)


def _prompts_within_budget(
    source: _Source, pairs: list[tuple[int, int]], n_prompts: int, budget: int
) -> int:
    """Estimate how many prompts per cell and dose fit the budget."""
    some = [pairs[i] for i in _evenly_spaced(len(pairs), min(SAMPLE, len(pairs)))]
    everything = np.arange(n_prompts)
    size = sum(len(pack) for _, pack in source.packs(some, everything)) / len(some)
    most = int(0.9 * budget * n_prompts / max(size * len(pairs), 1))
    return max(1, min(n_prompts, most))


@dataclass(frozen=True)
class _Source:
    ds: xr.Dataset
    first: npt.NDArray[np.intp]
    lives: xr.Dataset | None
    roll: int
    threshold: float

    @classmethod
    def of(cls, ds: xr.Dataset, threshold: float | None) -> _Source:
        there = bool(ds["pmass_eval"].size) and bool(ds["pmass_eval"].notnull().any())
        thresholds = checked_thresholds("pmass_eval", threshold)
        lives = None
        if there:
            lives = lifetimes(ds, "pmass_eval", thresholds[:1]).isel(threshold=0).load()
        roll = default_roll(int(ds["window"].max()))
        return cls(ds, compare(ds).first, lives, roll, thresholds[0])

    def labels(self) -> dict[str, Any]:
        """Return the labels from which a reader of the page chooses."""
        ds = self.ds
        names = ["run_id", "model_short", "method", "seed", "layer", "window", "c_star"]
        names = [name for name in names if name in ds.variables]
        columns = {name: ds[name].values.tolist() for name in [*names, "target_kl"]}
        return {
            "cells": columns,
            "alphas": ds["alpha"].values.tolist(),
            "forks": ds["fork"].values.tolist() if "fork" in ds.variables else [],
            "roll": self.roll,
        }

    def texts(self) -> bool:
        """Return whether any rollout has its text."""
        if "gen_text" not in self.ds:
            return False
        cells = range(self.ds.sizes["cell"])
        return any((self.ds["gen_text"].isel(cell=i).values != "").any() for i in cells)

    def packs(
        self, pairs: list[tuple[int, int]], held: npt.NDArray[np.intp]
    ) -> Iterator[tuple[tuple[int, int], str]]:
        """Yield the packs of cells and doses, in order; the arrays of a cell are read once."""
        loaded, part = -1, xr.Dataset()
        names = ["kl", "gen_len", "pmass_eval", "repetition", *schema.TEXTS]
        names = [name for name in names if name in self.ds]
        with_pairing = [*names, *(["unpaired"] if "unpaired" in self.ds else [])]
        for cell, alpha in pairs:
            if cell != loaded:
                loaded = cell
                # Load before selecting prompts: xarray reads texts whole if indexed by an array.
                part = self.ds[with_pairing].isel(cell=cell).load().isel(prompt=held)
                part = part.assign(pmass_eval=paired_pmass(part))
                part = part.assign(line=smooth(part["kl"], self.roll))
            yield (cell, alpha), self._pack(part.isel(alpha=alpha), cell, alpha, held)

    def _pack(self, dose: xr.Dataset, cell: int, alpha: int, held: npt.NDArray[np.intp]) -> str:
        """Pack the rollouts of one cell at one dose."""
        rows: list[dict[str, Any]] = []
        parts: list[bytes] = []
        kl, line = levels(dose["kl"].values), thousandths(dose["line"].values)
        texts = "gen_text" in dose
        for k, prompt in enumerate(held.tolist()):
            length = dose["gen_len"].values[k]
            n = 0 if np.isnan(length) else min(int(length), kl.shape[1])
            row: dict[str, Any] = {"n": n, "length": None if np.isnan(length) else int(length)}
            columns = np.unique(np.linspace(0, n - 1, min(n, COLUMNS)).round().astype(int))
            row["columns"] = columns.size
            row["pmass"] = [_rounded(value) for value in dose["pmass_eval"].values[k].tolist()]
            row["repetition"] = _rounded(float(dose["repetition"].values[k]))
            row |= self._death(cell, alpha, prompt)
            parts += [kl[k, :n].tobytes(), line[k, columns].tobytes() if n else b""]
            if texts:
                row["prompt"] = str(dose["prompt_text"].values[k])
                row["text"] = str(dose["gen_text"].values[k])
                chars = dose["token_chars"].values[k, :n].astype("<u2")
                row["divided"] = bool(chars.any()) and chars.size == n
                if row["divided"]:
                    parts.append(chars.tobytes())
            rows.append(row)
        head = json.dumps(rows, separators=(",", ":")).encode()
        content = len(head).to_bytes(4, "little") + head + b"".join(parts)
        return base64.b64encode(zlib.compress(content, 9)).decode("ascii")

    def _death(self, cell: int, alpha: int, prompt: int) -> dict[str, Any]:
        if self.lives is None:
            return {"end": -1}
        of = {"cell": cell, "alpha": alpha, "prompt": prompt}
        values = {
            name: self.lives[name].variable.isel(of).values.item()
            for name in ("end", "died", "recovered")
        }
        end = int(values["end"])
        fork = int(self.ds[METRICS["pmass_eval"].time].values[end]) if end >= 0 else -1
        return {"end": fork, "died": bool(values["died"]), "recovered": bool(values["recovered"])}


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else float(f"{value:.3g}")
