"""Small cells written out by hand, so that a test says in full what a folder holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

NAN = float("nan")

CALIB: dict[str, Any] = {
    "c_star": 1.5,
    "target_kl": 1.0,
    "window": 4,
    "method": "pca",
    "model": "org/tiny",
    "seed": 0,
    "layer": 3,
}


def make_cell(root: Path, run_id: str = "tiny_pca_s0_w4", **files: Any) -> Path:
    """Write a cell's folder.

    Each of ``trajectory``, ``pmass`` and ``history`` is dumped as JSON if given, ``results`` is
    the text of results.csv, and ``calib`` replaces entries of CALIB (None removes one). A str or
    bytes is written as it stands.
    """
    folder = root / run_id
    folder.mkdir(parents=True)
    calib = files.pop("calib", {})
    if isinstance(calib, dict):
        calib = {key: value for key, value in {**CALIB, **calib}.items() if value is not None}
    write(folder / "calib.json", calib)
    for name, content in files.items():
        write(folder / ("results.csv" if name == "results" else f"{name}.json"), content)
    return folder


def write(path: Path, content: Any) -> None:
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))


def kl(rows: dict[str, Any]) -> dict[str, Any]:
    return {"per_prompt_per_t_kl": rows}
