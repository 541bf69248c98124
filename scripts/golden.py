"""Record what the package makes of the shipped data, and compare two such records.

``golden.py record FILE`` writes one digest per output: files, cells of a run, ``--json`` of the
commands, numbers of the figures, the page, public signatures. ``golden.py compare OLD NEW`` names
the outputs that differ. Dates, versions and paths are left out. Run both from the same folder, with
``OMP_NUM_THREADS=1``: sums over more threads differ in the last bits.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import io
import json
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import xarray as xr

import isoklx
from isoklx.cli.main import main

PROJECT = Path(__file__).resolve().parents[1]
ROOTS = {name: PROJECT / "data" / name for name in ("sample", "measured")}
TINY = PROJECT / "tests" / "models" / "tiny"
DATED = {"date_created", "date_modified", "history", "source", "isoklx_version", "id"}

COMMANDS = (
    "info",
    "table",
    "survival",
    "survival --by method --threshold 0.5,0.75",
    "contrast",
    "contrast --doses 1,2",
    "dose",
    "dose --by method --survive 0.8",
    "calibration",
)
FIGURES: dict[str, dict[str, Any]] = {
    "figure1": {},
    "figure1 fan": {"kind": "fan", "by": "method"},
    "figure1 spaghetti": {"kind": "spaghetti", "by": "method"},
    "alive": {},
    "survival": {"by": "method"},
    "dose_response": {},
    "calibration": {},
}


def digest(content: bytes | str) -> str:
    """Return the first 16 hexadecimal digits of SHA-256."""
    return hashlib.sha256(content if isinstance(content, bytes) else content.encode()).hexdigest()[
        :16
    ]


def dataset_digests(ds: xr.Dataset) -> Iterator[tuple[str, str]]:
    """Yield a digest per variable: dims, dtype, attributes and values."""
    attrs = {key: str(value) for key, value in ds.attrs.items() if key not in DATED}
    yield "attrs", digest(json.dumps(attrs, sort_keys=True))
    for name in sorted(map(str, ds.variables)):
        var = ds[name].variable
        values = var.values
        content = repr(values.tolist()).encode() if values.dtype.kind in "OUT" else values.tobytes()
        head = f"{var.dims} {values.dtype} {sorted((k, str(v)) for k, v in var.attrs.items())}"
        yield name, digest(head.encode() + content)


def output_of(words: list[str]) -> str:
    """Return the status and the standard output of a command."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        status = main(words)
    text = re.sub(r"20\d\d-\d\d-\d\dT[0-9:.Z+-]+", "DATE", out.getvalue())
    return f"{status}\n{text}".replace(str(PROJECT), "PROJECT")


def record(work: Path) -> Iterator[tuple[str, str]]:
    """Yield every output and its digest."""
    for name, root in ROOTS.items():
        for suffix in ("nc", "zarr"):
            file = work / f"{name}.{suffix}"
            isoklx.build(root, file)
            with isoklx.open_sweep(file) as ds:
                for variable, found in dataset_digests(ds.load()):
                    yield f"{name}.{suffix} {variable}", found
        for command in COMMANDS:
            words = [*command.split()[:1], str(work / f"{name}.nc"), *command.split()[1:], "--json"]
            yield f"{name} {command}", digest(output_of(words).replace(str(work), "WORK"))
        ds = isoklx.open_sweep(root)
        for figure, options in FIGURES.items():
            drawn = getattr(isoklx.plot, figure.split()[0])(ds, **options)
            if hasattr(drawn, "data"):
                for variable, found in dataset_digests(drawn.data.compute()):
                    yield f"{name} {figure} {variable}", found
        page = work / f"{name}.html"
        output_of(["report", str(root), "--out", str(page)])
        text = re.sub(r"20\d\d-\d\d-\d\d[T ][0-9:.Z+-]*", "DATE", page.read_text())
        yield f"{name} page", digest(text.replace(str(PROJECT), "PROJECT"))
    output_of(
        [
            *("run", str(TINY), "--method", "mean_diff,directional_ablation", "--sign", "both"),
            *("--pairs", str(TINY / "pairs.jsonl"), "--prompts", str(TINY / "prompts.jsonl")),
            *("--calib_prompts", str(TINY / "calib_prompts.jsonl"), "--window", "32"),
            *("--questions", str(TINY / "questions.jsonl"), "--out", str(work / "cells")),
        ]
    )
    for file in sorted((work / "cells").rglob("*")):
        if file.is_file():
            content = file.read_bytes().replace(str(PROJECT).encode(), b"PROJECT")
            yield f"run {file.relative_to(work)}", digest(content)
    for module in (isoklx, isoklx.plot):
        for name in sorted(module.__all__ if hasattr(module, "__all__") else vars(module)):
            thing = getattr(module, name)
            if callable(thing) and not (inspect.isclass(thing) and issubclass(thing, Exception)):
                signature = str(inspect.signature(thing))
                yield f"{module.__name__}.{name}", re.sub(r"isoklx(\.\w+)+\.", "", signature)


def differences(old: dict[str, str], new: dict[str, str]) -> list[str]:
    """Return one line per output that differs, is new or is gone."""
    lines = []
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            how = "gone" if name not in new else "new" if name not in old else "differs"
            lines.append(f"{how:8}{name}")
    return lines


if __name__ == "__main__":
    if sys.argv[1] == "record":
        with tempfile.TemporaryDirectory() as folder:
            found = dict(record(Path(folder)))
        Path(sys.argv[2]).write_text(json.dumps(found, indent=1))
        print(f"{len(found)} outputs recorded in {sys.argv[2]}")
    else:
        changed = differences(*(json.loads(Path(file).read_text()) for file in sys.argv[2:4]))
        print("\n".join(changed) or "all outputs equal")
        raise SystemExit(bool(changed))
