"""One good cell with every file, which the corpus breaks, and its values."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.handmade import NAN, make_cell, write

KL = "per_prompt_per_t_kl"

TRAJECTORY: dict[str, Any] = {KL: {"0.5": [[0.5, 0.25], [0.125]], "1.0": [[1, 2, 3, 4], [5, 6]]}}
PMASS: dict[str, Any] = {
    "fork_points": [0, 2],
    "pmass_eval": {"0.5": [[0.9, 0.8], [0.7, NAN]], "1.0": [[0.6, 0.5], [0.4, 0.3]]},
    "pmass": {"1.0": [[0.2, 0.1]]},
    "p_true": {"1.0": [[0.15, 0.05]]},
    "gen_lens_eval": {"0.5": [2, 1], "1.0": [4, 2]},
    "gen_lens_qa": {"1.0": [4]},
}
HISTORY: list[dict[str, Any]] = [
    {"coeff": 1.0, "kl_mean": 0.5, "kl_p95": 0.9, "kl_max": 2.0},
    {"coeff": 1.5, "kl_mean": 0.6, "kl_p95": 1.0, "kl_max": 3.0},
]
RESULTS = "alpha,coeff,kl_p95,kl_mean,kl_max\r\n0.5,0.75,0.4,0.3,0.5\r\n1.0,1.5,5.9,3.5,6.0\r\n"

VALUES: dict[str, Any] = {
    "model": "org/tiny",
    "model_short": "tiny",
    "method": "pca",
    "seed": 0,
    "layer": 3,
    "window": 4,
    "c_star": 1.5,
    "target_kl": 1.0,
    "kl": [[[0.5, 0.25], [0.125]], [[1, 2, 3, 4], [5, 6]]],
    "pmass_eval": [[[0.9, 0.8], [0.7, NAN]], [[0.6, 0.5], [0.4, 0.3]]],
    "pmass": [[], [[0.2, 0.1]]],
    "p_true": [[], [[0.15, 0.05]]],
    "gen_len": [[2, 1], [4, 2]],
    "gen_len_qa": [[], [4]],
    "coeff": [0.75, 1.5],
    "kl_p95": [0.4, 5.9],
    "kl_mean": [0.3, 3.5],
    "kl_max": [0.5, 6.0],
    "calib_coeff": [1.0, 1.5],
    "calib_kl_mean": [0.5, 0.6],
    "calib_kl_p95": [0.9, 1.0],
    "calib_kl_max": [2.0, 3.0],
    "has_kl": 1,
    "has_pmass": 1,
    "calib_newer": 0,
    "target_stat": "p95",
    "measured_with": "",
    "repetition": [],
}
"""By variable, along alpha = 0.5, 1.0, fork = 0, 2; what is not listed is missing."""

Change = Callable[[Path], Path | None]
"""Breaks a cell's folder; returns the folder if it has another name now."""


def good_cell(root: Path, run_id: str) -> Path:
    return make_cell(
        root, run_id, trajectory=TRAJECTORY, pmass=PMASS, history=HISTORY, results=RESULTS.encode()
    )


def content(file: str, value: Any) -> Change:
    """Change a whole file: to bytes, to a text as it stands, or to what JSON makes of a value."""
    return lambda folder: write(folder / file, value)


def entry(file: str, *keys: str | int, value: Any) -> Change:
    """Change one value of a JSON file; None removes it."""

    def change(folder: Path) -> None:
        whole = json.loads((folder / file).read_text())
        inner = whole
        for key in keys[:-1]:
            inner = inner[key]
        if value is None:
            del inner[keys[-1]]
        else:
            inner[keys[-1]] = value
        write(folder / file, whole)

    return change


def spelt(file: str, old: str, new: str | bytes) -> Change:
    """Change how something is written, as no serialiser would."""

    def change(folder: Path) -> None:
        whole = (folder / file).read_bytes()
        assert whole.count(old.encode()) >= 1
        write(
            folder / file,
            whole.replace(old.encode(), new if isinstance(new, bytes) else new.encode(), 1),
        )

    return change


def half(file: str) -> Change:
    def change(folder: Path) -> None:
        whole = (folder / file).read_bytes()
        (folder / file).write_bytes(whole[: len(whole) // 2])

    return change


def instead(file: str, make: Callable[[Path], object]) -> Change:
    """Put something else where a file should be."""

    def change(folder: Path) -> None:
        (folder / file).unlink()
        make(folder / file)

    return change


def renamed(name: str | bytes) -> Change:
    def change(folder: Path) -> Path:
        text = name if isinstance(name, str) else name.decode("utf-8", "surrogateescape")
        return folder.rename(folder.with_name(text))

    return change
