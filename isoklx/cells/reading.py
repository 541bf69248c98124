"""Read the files of one cell into labelled arrays."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isoklx import schema
from isoklx.cells import parsing as m
from isoklx.cells.contents import Contents
from isoklx.cells.layout import (
    CALIBRATION,
    GENERATIONS,
    HISTORY,
    PMASS,
    RESULTS,
    TRAJECTORY,
    Sources,
    Stamp,
    calibrated_later,
    fingerprint,
)
from isoklx.cells.texts import read_texts
from isoklx.errors import CellError

_TARGET_STATS = ("p95", "rms", "mean")


Labels = Mapping[str, str | int | float]


@dataclass(frozen=True)
class Cell:
    """Content of one cell's folder."""

    folder: Path  # its name is the run_id
    stamps: Mapping[str, Stamp]  # of each file when it was read
    labels: Labels  # by the names in isoklx.schema.CELL_LABELS
    alpha: m.FloatArray  # float64, ascending: each dose of any file once
    fork: m.IntArray  # tokens, ascending: the cell's own forks
    # The schema's data variables without the dimension "cell"; prompt, token, question and
    # iteration count from 0.
    data: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]  # of the arrays in data, known without reading them
    dtype: str  # float32 or float64, of measured arrays
    notes: tuple[str, ...] = ()  # remarks for the user on a cell that was read
    texts_hash: str | None = None  # of gens.jsonl; "" where it is absent, None where not requested


@dataclass(frozen=True)
class Unread:
    """A cell that was skipped because it is not wanted or already known."""

    labels: Labels
    stamps: Mapping[str, Stamp]
    wanted: bool  # selected, and already known


@dataclass(frozen=True)
class Choice:
    """Selection of cells by label."""

    window: int | None = None  # tokens; None selects every window
    model_contains: str = ""  # case-sensitive part of the model's name

    def takes(self, labels: Labels) -> bool:
        """Return whether a cell with these labels is selected."""
        return self.window in (None, labels["window"]) and self.model_contains in str(
            labels["model"]
        )


EVERY = Choice()


def read_cell(
    folder: Path,
    *,
    dtype: str = "float32",
    choice: Choice = EVERY,
    known_hash: str = "",
    texts: bool = False,
) -> Cell | Unread:
    """Read one cell's folder; raise CellError with file, place and value where one is invalid.

    A cell that is not selected, or whose `fingerprint` is `known_hash`, is not parsed. Errors in
    gens.jsonl, which is read with `texts`, only add notes.
    """
    sources = Sources(folder)
    sources.read(CALIBRATION)
    calib = sources.json(CALIBRATION)
    if calib is None:
        raise CellError(folder, CALIBRATION, "missing")
    with _naming(folder, ""):
        run_id = m.text(folder.name, "the folder's name")
    with _naming(folder, CALIBRATION):
        labels, settings = calibration(run_id, calib)
    if not choice.takes(labels):
        return Unread(labels, sources.stamps, wanted=False)
    sources.read(TRAJECTORY, PMASS, HISTORY, RESULTS)
    sources.settle()
    settings["source_hash"] = source_hash = sources.digest()
    settings["calib_newer"] = later = calibrated_later(sources.stamps)
    unread_texts = _take_texts(sources) if texts else ""
    texts_hash = sources.texts_digest() if texts else None
    if fingerprint(source_hash, later, texts_hash) == known_hash:
        return Unread(labels, sources.stamps, wanted=True)
    contents = Contents(int(labels["window"]), dtype)
    for file, take in (
        (TRAJECTORY, contents.trajectory),
        (PMASS, contents.pmass),
        (HISTORY, contents.history),
    ):
        parsed = sources.json(file)
        with _naming(folder, file):
            take(parsed)
    with _naming(folder, RESULTS):
        contents.results(sources.bytes(RESULTS))
    with _naming(folder, ""):
        alpha, data = contents.arrays(settings)
    if texts:
        found, notes = read_texts(sources.bytes(GENERATIONS), alpha, data["gen_len"])
        data |= found
        contents.notes += [unread_texts] if unread_texts else notes
    return Cell(
        folder=folder,
        stamps=sources.stamps,
        labels=labels,
        alpha=alpha,
        fork=contents.fork,
        data=data,
        shapes={name: getattr(values, "shape", ()) for name, values in data.items()},
        dtype=dtype,
        notes=tuple(contents.notes),
        texts_hash=texts_hash,
    )


def _take_texts(sources: Sources) -> str:
    """Read gens.jsonl; return a note where it cannot be read, which does not fail the cell."""
    try:
        sources.read(GENERATIONS)
    except CellError as error:
        return f"{GENERATIONS}: {error.reason}; texts are missing"
    return ""


@contextmanager
def _naming(folder: Path, file: str) -> Iterator[None]:
    """Convert an error about a place into a CellError that also names folder and file."""
    try:
        yield
    except (ValueError, csv.Error) as error:
        raise CellError(folder, file, str(error)) from error


def calibration(run_id: str, parsed: object) -> tuple[dict[str, str | int | float], dict[str, Any]]:
    """Parse calib.json into labels and settings; raise ValueError with the place and value."""
    calib = m.mapping(parsed, "the file")
    model = m.text(m.named(calib, "model"), "model")
    labels: dict[str, str | int | float] = {
        "run_id": run_id,
        "model": model,
        "model_short": _last_part(model),
        "method": m.text(m.named(calib, "method"), "method"),
        "seed": m.whole(m.named(calib, "seed"), "seed", m.INT64.min, m.INT64.max),
        "layer": m.whole(m.named(calib, "layer"), "layer"),
        "window": m.whole(m.named(calib, "window"), "window", least=1),
    }
    settings: dict[str, Any] = {
        name: m.finite(m.named(calib, name), name) for name in ("c_star", "target_kl")
    }
    target_stat = calib.get("target_stat", "p95")
    if target_stat not in _TARGET_STATS:
        allowed = ", ".join(_TARGET_STATS)
        raise ValueError(f"target_stat must be one of {allowed}, got {m.shorten(target_stat)}")
    settings["target_stat"] = target_stat
    measured_with = calib.get("measured_with")
    if measured_with is not None:
        measured_with = json.dumps(m.mapping(measured_with, "measured_with"))
    settings["measured_with"] = measured_with or ""
    labels |= split_labels(calib)
    recorded = calib.get("sign")
    if recorded in ("+", "-") and recorded != labels["sign"]:
        c_star = settings["c_star"]
        raise ValueError(f"sign {recorded!r} contradicts c_star = {c_star:g}")
    return labels, settings


def split_labels(calib: Mapping[str, Any]) -> dict[str, str | float]:
    """Return the labels of `isoklx.schema.SPLIT`, or raise ValueError with the place and value.

    For a cell in a file of an older version, ``c_star`` and ``measured_with`` suffice.
    """
    labels: dict[str, str | float] = {}
    for name in schema.SPLIT:
        var = schema.COORDINATES[name]
        found: Any = None
        if name == "sign":
            found = "-" if calib["c_star"] < 0 else "+"
        elif var.key:
            found = calib
            for key in var.key:
                found = found.get(key) if isinstance(found, Mapping) else None
        place = ".".join(var.key)
        if found is None:
            labels[name] = var.absent
        else:
            labels[name] = m.text(found, place) if var.dtype == "str" else m.finite(found, place)
    return labels


def _last_part(model: str) -> str:
    """Return the last non-empty part of a name or path."""
    parts = [part for part in re.split(r"[/\\]", model) if part.strip()]
    return parts[-1] if parts else model
