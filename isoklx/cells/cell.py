"""One cell: the JSON of one run's folder, read into arrays under their labels."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from isoklx.cells import measurements as m
from isoklx.cells.sources import CALIBRATION, HISTORY, PMASS, RESULTS, TRAJECTORY, Sources, Stamp
from isoklx.errors import CellError

_KL = "per_prompt_per_t_kl"
_BISECTION = {
    "calib_coeff": "coeff",
    "calib_kl_mean": "kl_mean",
    "calib_kl_p95": "kl_p95",
    "calib_kl_max": "kl_max",
}
_DOSE = ("coeff", "kl_mean", "kl_p95", "kl_max")


Labels = Mapping[str, str | int]


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
        ``run_id``, ``model``, ``model_short``, ``method``, ``seed``, ``layer`` and ``window``.
    alpha : ndarray
        float64, ascending: the alphas of any of its files.
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
    folder: Path, *, dtype: str = "float32", choice: Choice = EVERY, known_hash: str = ""
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
        The ``source_hash`` of a content that need not be parsed again.

    Returns
    -------
    Cell or Unread
        Unread when the cell is not wanted (its large files are not even opened), or when its
        files have the known hash.

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
        labels, c_star, target_kl = calibration(run_id, calib)
    if not choice.takes(labels):
        return Unread(labels, sources.stamps, wanted=False)
    sources.read(TRAJECTORY, PMASS, HISTORY, RESULTS)
    sources.settle()
    source_hash = sources.digest()
    if source_hash == known_hash:
        return Unread(labels, sources.stamps, wanted=True)
    reading = _Reading(int(labels["window"]), dtype)
    for file, take in (
        (TRAJECTORY, reading.trajectory),
        (PMASS, reading.pmass),
        (HISTORY, reading.history),
    ):
        parsed = sources.json(file)
        with _naming(folder, file):
            take(parsed)
    with _naming(folder, RESULTS):
        reading.results(sources.bytes(RESULTS))
    with _naming(folder, ""):
        return reading.cell(sources, labels, c_star, target_kl, source_hash)


@contextmanager
def _naming(folder: Path, file: str) -> Iterator[None]:
    """Turn an error about a place into a CellError that also names folder and file."""
    try:
        yield
    except (ValueError, csv.Error) as error:
        raise CellError(folder, file, str(error)) from error


def calibration(run_id: str, parsed: object) -> tuple[dict[str, str | int], float, float]:
    """Labels, ``c_star`` and ``target_kl`` out of calib.json, or ValueError with the place."""
    calib = m.mapping(parsed, "the file")
    model = m.text(m.named(calib, "model"), "model")
    labels: dict[str, str | int] = {
        "run_id": run_id,
        "model": model,
        "model_short": model.rpartition("/")[2] or model,
        "method": m.text(m.named(calib, "method"), "method"),
        "seed": m.whole(m.named(calib, "seed"), "seed"),
        "layer": m.whole(m.named(calib, "layer"), "layer"),
        "window": m.whole(m.named(calib, "window"), "window", least=1),
    }
    c_star = m.finite(m.named(calib, "c_star"), "c_star")
    target_kl = m.finite(m.named(calib, "target_kl"), "target_kl")
    return labels, c_star, target_kl


@dataclass
class _Reading:
    """A cell while its files are read, one {alpha: rows} per variable."""

    window: int
    dtype: str
    fork: m.IntArray = field(default_factory=lambda: np.empty(0, dtype=np.int32))
    rows: dict[str, dict[float, Any]] = field(default_factory=dict)
    bisection: dict[str, m.FloatArray] = field(default_factory=dict)
    recorded: dict[float, dict[str, float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def trajectory(self, parsed: object) -> None:
        self.rows["kl"] = {}
        if parsed is None:
            return
        content = m.mapping(parsed, "the file")
        if _KL not in content:
            self.notes.append(f"{TRAJECTORY}: stale, it has no {_KL}")
            return
        for alpha, (place, rows) in m.by_alpha(content[_KL], _KL).items():
            self.rows["kl"][alpha] = self._measured(TRAJECTORY, place, rows, self.window, cut=True)

    def pmass(self, parsed: object) -> None:
        lengths = {"gen_len": "gen_lens_eval", "gen_len_qa": "gen_lens_qa"}
        self.rows |= {name: {} for name in ("pmass_eval", "pmass", "p_true", *lengths)}
        if parsed is None:
            return
        content = m.mapping(parsed, "the file")
        computed = content.get("computed", True)
        if not isinstance(computed, bool):
            raise ValueError(f"computed is {m.shown(computed)}, not true or false")
        if not computed:
            return
        self.fork = m.rising(content.get("fork_points", []), "fork_points")
        for name in ("pmass_eval", "pmass", "p_true"):
            for alpha, (place, rows) in m.by_alpha(content.get(name, {}), name).items():
                self.rows[name][alpha] = self._measured(PMASS, place, rows, self.fork.size)
        for name, key in lengths.items():
            for alpha, (place, items) in m.by_alpha(content.get(key, {}), key).items():
                self.rows[name][alpha] = m.counts(items, place)

    def history(self, parsed: object) -> None:
        steps = [] if parsed is None else m.array(parsed, "the file")
        for i, step in enumerate(steps):
            m.mapping(step, f"[{i}]")
        for name, key in _BISECTION.items():
            column = [m.finite(m.named(s, key), f'[{i}]["{key}"]') for i, s in enumerate(steps)]
            self.bisection[name] = np.array(column, dtype=np.float64)

    def results(self, content: bytes | None) -> None:
        if content is None:
            return
        text = content.decode("utf-8")
        if text and not text.endswith("\n"):
            raise ValueError("half written: the last line does not end")
        lines = csv.DictReader(io.StringIO(text, newline=""), restkey="", restval=None)
        columns = list(lines.fieldnames or ())
        if "alpha" not in columns:
            raise ValueError("line 1 has no column alpha")
        if len(columns) > len(set(columns)):
            raise ValueError("line 1 names a column twice")
        for line in lines:
            place = f"line {lines.line_num}"
            if "" in line or None in line.values():
                raise ValueError(f"{place} has not as many values as line 1 has columns")
            alpha = m.alpha_of(line["alpha"], f"{place}, alpha")
            if alpha in self.recorded:
                raise ValueError(f"{place} repeats alpha {alpha:g}")
            self.recorded[alpha] = {
                name: m.alpha_of(line[name], f"{place}, {name}")
                for name in _DOSE
                if line.get(name, "").lower() not in ("", "nan")
            }

    def cell(
        self,
        sources: Sources,
        labels: Labels,
        c_star: float,
        target_kl: float,
        source_hash: str,
    ) -> Cell:
        """Everything that was read, on the cell's own labels."""
        alphas = sorted({alpha for rows in self.rows.values() for alpha in rows} | {*self.recorded})
        alpha = np.array(alphas, dtype=np.float64)
        kl = self._stacked("kl", alphas)
        pmass = {name: self._stacked(name, alphas) for name in ("pmass_eval", "pmass", "p_true")}
        recorded = self._stacked("gen_len", alphas, fill=-1)
        data = {
            "kl": kl,
            **pmass,
            "gen_len": _generated(
                recorded, kl, prompts=[len(self.rows["kl"].get(a, ())) for a in alphas]
            ),
            "gen_len_qa": self._stacked("gen_len_qa", alphas, fill=-1),
            "c_star": c_star,
            "target_kl": target_kl,
            **_doses(alpha, c_star, kl, [self.recorded.get(a, {}) for a in alphas]),
            **self.bisection,
            "has_kl": np.isfinite(kl).any(),
            "has_pmass": any(np.isfinite(pmass[name]).any() for name in ("pmass_eval", "pmass")),
            "source_hash": source_hash,
        }
        shapes = {name: np.shape(values) for name, values in data.items()}
        notes = tuple(self.notes)
        return Cell(
            folder=sources.folder,
            stamps=sources.stamps,
            labels=labels,
            alpha=alpha,
            fork=self.fork,
            data=data,
            shapes=shapes,
            dtype=self.dtype,
            notes=notes,
        )

    def _measured(
        self, file: str, place: str, rows: object, length: int, *, cut: bool = False
    ) -> m.FloatArray:
        exact = m.padded_rows(rows, place, length, cut=cut)
        values = m.stored(exact, self.dtype)
        lost = m.not_held(exact, values)
        if lost.any():
            row, column = np.argwhere(lost)[0]
            self.notes.append(
                f"{file}: float32 does not hold {place}[{row}][{column}] = {exact[row, column]:g} "
                f"to within {m.FLOAT32_TOLERANCE:g} (one of {lost.sum()}); --dtype=float64 does"
            )
        return values

    def _stacked(self, name: str, alphas: list[float], fill: float = math.nan) -> Any:
        """One array (alpha, row, ...), as large as the largest of its rows."""
        found = self.rows[name]
        dims = 1 if name.startswith("gen_len") else 2
        dtype = np.int32 if dims == 1 else np.dtype(self.dtype)
        shapes = [values.shape for values in found.values()]
        largest = tuple(map(max, *shapes, (0,) * dims)) if shapes else (0,) * dims
        m.refuse_padding(
            (len(alphas), *largest), sum(values.size for values in found.values()), name
        )
        out = np.full((len(alphas), *largest), fill, dtype=dtype)
        for i, alpha in enumerate(alphas):
            if alpha in found:
                values = found[alpha]
                out[i][tuple(map(slice, values.shape))] = values
        return out


def _generated(recorded: m.IntArray, kl: m.FloatArray, prompts: list[int]) -> m.IntArray:
    """Tokens generated (alpha, prompt): as recorded, else up to the last finite KL.

    `prompts` counts the rollouts at each alpha; beyond them nothing was run.
    """
    n_alpha, n_prompt, n_token = kl.shape
    out = np.full((n_alpha, max(n_prompt, recorded.shape[1])), -1, dtype=np.int32)
    last = np.max(np.isfinite(kl) * np.arange(1, n_token + 1), axis=2, initial=0)
    ran = np.arange(n_prompt) < np.array(prompts, dtype=np.int32)[:, np.newaxis]
    out[:, :n_prompt] = np.where(ran, last, -1)
    known = out[:, : recorded.shape[1]]
    np.copyto(known, recorded, where=recorded >= 0)
    return out


def _doses(
    alpha: m.FloatArray, c_star: float, kl: m.FloatArray, recorded: list[dict[str, float]]
) -> dict[str, m.FloatArray]:
    """Per-alpha summaries: as recorded in results.csv, else computed from kl."""
    out = {name: np.full(alpha.size, np.nan) for name in _DOSE}
    out["coeff"] = alpha * c_star
    for i, row in enumerate(recorded):
        if not row.keys() >= {"kl_mean", "kl_p95", "kl_max"}:
            values = kl[i][np.isfinite(kl[i])].astype(np.float64)
            if values.size:
                out["kl_mean"][i] = values.mean()
                out["kl_p95"][i] = np.percentile(values, 95)
                out["kl_max"][i] = values.max()
        for name, value in row.items():
            out[name][i] = value
    return out
