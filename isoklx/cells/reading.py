"""One cell: the JSON of one run's folder, read into arrays under their labels."""

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
    """What one folder holds.

    Parameters
    ----------
    folder : Path
        Where it was read from; its name is the ``run_id``.
    stamps : mapping of str to tuple of int
        Size and time of change of each of its files when it was read.
    labels : mapping
        Every label of `isoklx.schema.CELL_LABELS`.
    alpha : ndarray
        float64, ascending: the doses of any of its files, each one once.
    fork : ndarray
        int32, rising: its own fork points, in tokens.
    data : mapping of str to ndarray
        The schema's data variables without their ``cell`` dimension. ``prompt``, ``token``,
        ``question`` and ``iteration`` count from 0, so an array's shape is its label.
    shapes : mapping of str to tuple of int
        Shape of each array in `data`, known without reading it.
    dtype : {"float32", "float64"}
        Of the measured arrays.
    notes : tuple of str
        What a user should know about it although it was read.
    texts_hash : str, optional
        SHA-256 of the file of its texts, empty where there was none; None where texts were not
        asked for, and `data` has none.
    """

    folder: Path
    stamps: Mapping[str, Stamp]
    labels: Labels
    alpha: m.FloatArray
    fork: m.IntArray
    data: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]
    dtype: str
    notes: tuple[str, ...] = ()
    texts_hash: str | None = None


@dataclass(frozen=True)
class Unread:
    """A cell that was not read, because it need not be.

    Parameters
    ----------
    labels : mapping
        As of a `Cell`.
    stamps : mapping of str to tuple of int
        As of a `Cell`, of the files that were looked at.
    wanted : bool
        True when it is wanted and known already.
    """

    labels: Labels
    stamps: Mapping[str, Stamp]
    wanted: bool


@dataclass(frozen=True)
class Choice:
    """Which cells are wanted.

    Parameters
    ----------
    window : int, optional
        Only cells of this window, in tokens.
    model_contains : str
        Only cells whose ``model`` contains this text; case counts.
    """

    window: int | None = None
    model_contains: str = ""

    def takes(self, labels: Labels) -> bool:
        """Whether a cell with these labels is wanted."""
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
    """Read one cell's folder.

    Parameters
    ----------
    folder : Path
        A folder with a ``calib.json``; every other file may be absent.
    dtype : {"float32", "float64"}
        Storage of the measured arrays (``kl``, ``pmass_eval``, ``pmass``, ``p_true``).
    choice : Choice
        Which cells are wanted; by default every one.
    known_hash : str
        The `isoklx.cells.layout.fingerprint` of what need not be parsed again.
    texts : bool
        Read what was said as well; what is wrong with it costs nothing but a note.

    Returns
    -------
    Cell or Unread
        Unread when the cell is not wanted (its large files are not even opened), or when its
        files are those that are known.

    Raises
    ------
    CellError
        When a file is unreadable, half written or not of the cell format; it names the folder,
        the file, the place in it and the value. Also when a file changes while the cell is read.
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
        said, notes = read_texts(sources.bytes(GENERATIONS), alpha, data["gen_len"])
        data |= said
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
    """Take in the texts; a note where that cannot be done, for they are not what a cell is."""
    try:
        sources.read(GENERATIONS)
    except CellError as error:
        return f"{GENERATIONS}: {error.reason}, and so no text"
    return ""


@contextmanager
def _naming(folder: Path, file: str) -> Iterator[None]:
    """Turn an error about a place into a CellError that also names folder and file."""
    try:
        yield
    except (ValueError, csv.Error) as error:
        raise CellError(folder, file, str(error)) from error


def calibration(run_id: str, parsed: object) -> tuple[dict[str, str | int | float], dict[str, Any]]:
    """Labels and settings of a run out of calib.json, or ValueError with the place and value."""
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
        raise ValueError(f"target_stat is {m.shorten(target_stat)}, not one of {allowed}")
    settings["target_stat"] = target_stat
    measured_with = calib.get("measured_with")
    if measured_with is not None:
        measured_with = json.dumps(m.mapping(measured_with, "measured_with"))
    settings["measured_with"] = measured_with or ""
    labels |= split_labels(calib)
    recorded = calib.get("sign")
    if recorded in ("+", "-") and recorded != labels["sign"]:
        c_star = settings["c_star"]
        raise ValueError(f"sign is {recorded!r}, which is not that of c_star = {c_star:g}")
    return labels, settings


def split_labels(calib: Mapping[str, Any]) -> dict[str, str | float]:
    """Return the labels of `isoklx.schema.SPLIT`, or raise ValueError with the place and value.

    Parameters
    ----------
    calib : mapping
        Content of calib.json; of a cell in an older file ``c_star`` and ``measured_with`` will do.

    Examples
    --------
    >>> split_labels({"c_star": -2.0, "measured_with": {"temperature": 0.7}})
    {'sign': '-', 'temperature': 0.7}
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
    """What follows the last separator of a name or path, if anything does."""
    parts = [part for part in re.split(r"[/\\]", model) if part.strip()]
    return parts[-1] if parts else model
