"""The rollouts that a page holds: compressed apart, so that a browser unpacks what is looked at."""

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
"""Nats; what lies beyond is shown as these."""

STEPS = 254
RATIO = (MOST / LEAST) ** (1 / STEPS)
"""From one level to the next: 1.056, so that a KL is shown to within 3%."""


def levels(kl: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.uint8]:
    """Code KL in nats: 0 is none, level i from 1 to 255 is ``LEAST * RATIO ** (i - 1)``.

    Examples
    --------
    >>> levels(np.array([np.nan, 0.0, 1e-4, 1.0, 1e9])).tolist()
    [0, 1, 1, 170, 255]
    """
    known = np.isfinite(kl)
    clipped = np.clip(np.where(known, kl, LEAST), LEAST, MOST)
    coded = 1 + np.rint(np.log(clipped / LEAST) / np.log(RATIO))
    return np.where(known, coded, 0).astype(np.uint8)


def thousandths(kl: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.uint16]:
    """Code KL in two bytes, as thousandths of a nat; the largest number is none.

    Examples
    --------
    >>> thousandths(np.array([0.5, np.nan, 99.0])).tolist()
    [500, 65535, 65534]
    """
    known = np.isfinite(kl)
    coded = np.rint(np.clip(np.where(known, kl, 0), 0, 65.534) * 1000)
    return np.where(known, coded, 65535).astype("<u2")


BUDGET = 11 * 2**20
"""Characters that the rollouts may take in the page."""

COLUMNS = 128
"""Points of a line in the figure of a dose's rollouts."""

SAMPLE = 12
"""Packs that are made to learn how large they are."""


@dataclass(frozen=True)
class Rollouts:
    """What the part of the page for reading is made of.

    Parameters
    ----------
    index : dict
        For JSON: cells, doses, prompts, forks, and where in `packed` each pack is.
    packed : str
        Packs of base64, one after another.
    n, n_held : int
        Rollouts of the sweep, repeats left out, and those that can be read.
    texts : bool
        Whether any has its text.
    """

    index: dict[str, Any]
    packed: str
    n: int
    n_held: int
    texts: bool


def pack_rollouts(
    ds: xr.Dataset, threshold: float | None = None, budget: int = BUDGET
) -> Rollouts | None:
    """Pack the rollouts of a sweep, each cell and dose by itself.

    Where all of them take more than `budget`, some of the prompts are held, the same at every cell
    and dose, spread over all that there are. A repeat of another cell is held once.

    Parameters
    ----------
    ds : Dataset
        A sweep, with its texts where they are to be read.
    threshold : float, optional
        Of ``pmass_eval``, by default 0.75: who is below it at a fork is dead.
    budget : int
        Characters that they may take.

    Returns
    -------
    Rollouts or None
        None where nothing was generated.
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
    held = _spread(n_prompts, _affordable(source, pairs, n_prompts, budget))
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


def _spread(n: int, k: int) -> npt.NDArray[np.intp]:
    """K of n places, even, the first one among them."""
    return np.unique(np.linspace(0, n - 1, k).round().astype(np.intp)) if k > 1 else np.arange(1)


def _affordable(source: _Source, pairs: list[tuple[int, int]], n_prompts: int, budget: int) -> int:
    """How many prompts of each cell and dose fit."""
    some = [pairs[i] for i in _spread(len(pairs), min(SAMPLE, len(pairs)))]
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
        """What the page chooses from."""
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
        """Whether any rollout has its text."""
        if "gen_text" not in self.ds:
            return False
        cells = range(self.ds.sizes["cell"])
        return any((self.ds["gen_text"].isel(cell=i).values != "").any() for i in cells)

    def packs(
        self, pairs: list[tuple[int, int]], held: npt.NDArray[np.intp]
    ) -> Iterator[tuple[tuple[int, int], str]]:
        """Packs of cells and doses, in order; a cell's arrays are read once."""
        loaded, part = -1, xr.Dataset()
        names = ["kl", "gen_len", "pmass_eval", "repetition", *schema.TEXTS]
        names = [name for name in names if name in self.ds]
        with_pairing = [*names, *(["unpaired"] if "unpaired" in self.ds else [])]
        for cell, alpha in pairs:
            if cell != loaded:
                loaded = cell
                # One by one: what xarray chooses of texts by arrays it would read whole.
                part = self.ds[with_pairing].isel(cell=cell).load().isel(prompt=held)
                part = part.assign(pmass_eval=paired_pmass(part))
                part = part.assign(line=smooth(part["kl"], self.roll))
            yield (cell, alpha), self._pack(part.isel(alpha=alpha), cell, alpha, held)

    def _pack(self, dose: xr.Dataset, cell: int, alpha: int, held: npt.NDArray[np.intp]) -> str:
        """What is known of the rollouts of one cell at one dose."""
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
            row["pmass"] = [_short(value) for value in dose["pmass_eval"].values[k].tolist()]
            row["repetition"] = _short(float(dose["repetition"].values[k]))
            row |= self._fate(cell, alpha, prompt)
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

    def _fate(self, cell: int, alpha: int, prompt: int) -> dict[str, Any]:
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


def _short(value: float) -> float | None:
    return None if np.isnan(value) else float(f"{value:.3g}")
