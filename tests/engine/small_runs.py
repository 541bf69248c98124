"""Runs of the tiny model that take half a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.models.tiny_model import TINY

ROWS = {"pairs": 8, "prompts": 3, "calib_prompts": 3, "questions": 2}


def inputs(folder: Path) -> dict[str, Path]:
    """The first rows of the tiny model's own files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in ROWS.items():
        lines = (TINY / f"{name}.jsonl").read_text().splitlines(keepends=True)
        (folder / f"{name}.jsonl").write_text("".join(lines[:rows]))
    return {name: folder / f"{name}.jsonl" for name in ROWS}


def small(folder: Path, **options: Any) -> dict[str, Any]:
    """What `isoklx.engine.run` is given; the runs root is ``out`` in the folder."""
    few = {"window": 8, "alphas": (0.0, 1.0, 2.0), "forks": 4, "batch": 4, "out": folder / "out"}
    return {**inputs(folder), **few, **options}


def words(options: dict[str, Any]) -> list[str]:
    """The same as words of a command."""
    found = []
    for name, value in options.items():
        several = isinstance(value, tuple)
        text = ",".join(map(str, value)) if several else str(value).lower()
        found += [f"--{name}", str(value) if isinstance(value, Path) else text]
    return found


def contents(root: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }
