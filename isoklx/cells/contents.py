"""Contents of a cell's files, parsed file by file and joined into arrays."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from isoklx import schema
from isoklx.cells import consistency, summaries
from isoklx.cells import parsing as m
from isoklx.cells.layout import CALIBRATION, HISTORY, PMASS, RESULTS, TRAJECTORY
from isoklx.cells.parsing import (
    Alphas,
    FloatArray,
    IntArray,
    find_duplicate,
    positions,
    refuse_padding,
    union,
)


def on_prompts(kl: FloatArray, lengths: IntArray) -> FloatArray:
    """Insert rows of NaN for rollouts without tokens (length 0), which some runs omit from KL."""
    if not 0 < len(kl) < lengths.size or np.count_nonzero(lengths) != len(kl):
        return kl
    some = lengths != 0
    refuse_padding((some.size, *kl.shape[1:]), kl.size, "kl")
    out = np.full((some.size, *kl.shape[1:]), np.nan, dtype=kl.dtype)
    out[some] = kl
    return out


def unpaired(n_kl: int, n_pmass: int) -> bool:
    """Return whether KL and pmass rows of a dose cannot be matched."""
    return n_kl != n_pmass and min(n_kl, n_pmass) > 0


_KL = "per_prompt_per_t_kl"
_CALIBRATION_STEPS = {
    "calib_coeff": "coeff",
    "calib_kl_mean": "kl_mean",
    "calib_kl_p95": "kl_p95",
    "calib_kl_max": "kl_max",
}


@dataclass
class Contents:
    """Contents of a cell's files while they are read, as {alpha: rows} for each variable.

    Methods that parse a file raise ValueError with the place in it and the value.
    """

    window: int  # tokens; rows of KL are cut to it
    dtype: str  # float32 or float64, of measured arrays
    has_trajectory: bool = False
    fork: m.IntArray = field(default_factory=lambda: np.empty(0, dtype=np.int32))
    rows: dict[str, dict[float, Any]] = field(default_factory=dict)
    answer: m.IntArray = field(default_factory=lambda: np.empty(0, dtype=np.int32))
    calibration: dict[str, m.FloatArray] = field(default_factory=dict)
    recorded: dict[float, dict[str, float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def trajectory(self, parsed: object) -> None:
        """Parse trajectory.json; None where the file is absent."""
        self.rows["kl"] = {}
        if parsed is None:
            return
        self.has_trajectory = True
        content = m.mapping(parsed, "the file")
        if _KL not in content:
            self.notes.append(f"{TRAJECTORY}: stale, {_KL} is missing")
            return
        for alpha, (place, rows) in m.by_alpha(content[_KL], _KL).items():
            self.rows["kl"][alpha] = self._cast_rows(TRAJECTORY, place, rows, self.window, cut=True)

    def pmass(self, parsed: object) -> None:
        """Parse pmass.json; call it after `trajectory`."""
        lengths = {"gen_len": "gen_lens_eval", "gen_len_qa": "gen_lens_qa"}
        at_forks = ("pmass_eval", "pmass", "p_true")
        self.rows |= {name: {} for name in (*at_forks, *lengths, "repetition")}
        if parsed is None:
            return
        content = m.mapping(parsed, "the file")
        if not self.has_trajectory:
            self.notes.append(f"{PMASS}: {TRAJECTORY} is missing, so the cell has no KL")
        computed = content.get("computed", True)
        if not isinstance(computed, bool):
            raise ValueError(f"computed must be true or false, got {m.shorten(computed)}")
        if not computed:
            return
        self.fork = m.increasing(content.get("fork_points", []), "fork_points")
        for name in at_forks:
            for alpha, (place, rows) in m.by_alpha(content.get(name, {}), name).items():
                self.rows[name][alpha] = self._cast_rows(PMASS, place, rows, self.fork.size)
        for name, key in lengths.items():
            for alpha, (place, items) in m.by_alpha(content.get(key, {}), key).items():
                self.rows[name][alpha] = m.counts(items, place)
        key = "repetition_eval"
        for alpha, (place, items) in m.by_alpha(content.get(key, {}), key).items():
            self.rows["repetition"][alpha] = self._cast(PMASS, place, m.shares(items, place))
        if "answer_key" in content:
            self.answer = m.truths(content["answer_key"], "answer_key")
        self._note_unfinished(content)

    def _note_unfinished(self, content: Mapping[str, Any]) -> None:
        """Note doses that the run itself does not list as completed."""
        key = "completed_alphas"
        if key not in content:
            return
        places = [(f"{key}[{i}]", item) for i, item in enumerate(m.array(content[key], key))]
        completed = union([m.alpha_of(m.text(item, place), place) for place, item in places])
        begun = union([a for name, rows in self.rows.items() if name != "kl" for a in rows])
        if completed.size:
            nearest = completed[positions(completed, begun)]
            begun = begun[~schema.same_dose(nearest, begun)]
        if begun.size:
            self.notes.append(f"{PMASS}: alpha {_listed(begun)} is unfinished according to {key}")

    def history(self, parsed: object) -> None:
        """Parse history.json; a value that is not a finite number is read as missing."""
        steps = [] if parsed is None else m.array(parsed, "the file")
        for i, step in enumerate(steps):
            m.mapping(step, f"[{i}]")
        missing: list[str] = []
        for name, key in _CALIBRATION_STEPS.items():
            column = []
            for i, step in enumerate(steps):
                place, value = f'[{i}]["{key}"]', m.named(step, key)
                tried = math.nan if value is None else m.number(value, place)
                if not math.isfinite(tried):
                    missing.append(f"{place} is {m.shorten(value)}")
                    tried = math.nan
                column.append(tried)
            self.calibration[name] = np.array(column, dtype=np.float64)
        if missing:
            more = f" (one of {len(missing)})" * (len(missing) > 1)
            self.notes.append(f"{HISTORY}: {missing[0]}, read as missing{more}")

    def results(self, content: bytes | None) -> None:
        """Parse results.csv."""
        if content is None:
            return
        text = content.decode("utf-8")
        if text and not text.endswith("\n"):
            raise ValueError("half written: the last line has no line break")
        lines = csv.DictReader(io.StringIO(text, newline=""), restkey="", restval=None)
        columns = list(lines.fieldnames or ())
        if "alpha" not in columns:
            raise ValueError("line 1 has no column alpha")
        if len(columns) > len(set(columns)):
            raise ValueError("line 1 has a duplicate column")
        recorded: list[tuple[float, str, dict[str, float]]] = []
        for line in lines:
            place = f"line {lines.line_num}"
            if "" in line or None in line.values():
                raise ValueError(f"{place} has more or fewer values than line 1 has columns")
            alpha = m.alpha_of(line["alpha"], f"{place}, alpha")
            row = {
                name: m.alpha_of(line[name], f"{place}, {name}")
                for name in summaries.DOSE
                if line.get(name, "").lower() not in ("", "nan")
            }
            recorded.append((alpha, place, row))
        again = find_duplicate([alpha for alpha, _, _ in recorded])
        if again is not None:
            alpha, place, _ = recorded[again[1]]
            raise ValueError(f"{place} repeats alpha {alpha:g}")
        self.recorded = {alpha: row for alpha, _, row in recorded}

    def arrays(self, settings: Mapping[str, Any]) -> tuple[Alphas, dict[str, Any]]:
        """Return the cell's alphas and the schema's data variables along the cell's own labels."""
        alpha = self._unify_labels()
        alphas = alpha.tolist()
        unpaired = self._align_kl(alphas)
        kl = self._stacked("kl", alphas)
        pmass = {name: self._stacked(name, alphas) for name in ("pmass_eval", "pmass", "p_true")}
        prompts = [len(self.rows["kl"].get(a, ())) for a in alphas]
        questions = pmass["pmass"].shape[1]
        if questions and self.answer.size not in (0, questions):
            raise ValueError(
                f"{PMASS}: answer_key must have {questions} answers, got {self.answer.size}"
            )
        recorded = [self.recorded.get(a, {}) for a in alphas]
        data = {
            **settings,
            "kl": kl,
            **pmass,
            "gen_len": summaries.generated(self._stacked("gen_len", alphas), kl, prompts),
            "answer": self.answer[:questions],
            "gen_len_qa": self._stacked("gen_len_qa", alphas),
            "repetition": self._stacked("repetition", alphas),
            **summaries.doses(alpha, settings["c_star"], kl, recorded),
            **self.calibration,
            "has_kl": np.isfinite(kl).any(),
            "has_pmass": any(np.isfinite(pmass[name]).any() for name in ("pmass_eval", "pmass")),
            "unpaired": unpaired,
        }
        self._note_contradictions(alpha, data)
        return alpha, data

    def _unify_labels(self) -> Alphas:
        """Give each dose one label, regardless of its spelling in each file."""
        found = sorted({a for rows in (*self.rows.values(), self.recorded) for a in rows})
        alpha = union(found)
        if alpha.size < len(found):
            named = alpha[positions(alpha, found)].tolist()
            label = dict(zip(found, named, strict=True))
            self.rows = {name: _relabelled(rows, label) for name, rows in self.rows.items()}
            self.recorded = _relabelled(self.recorded, label)
        return alpha

    def _align_kl(self, alphas: list[float]) -> Any:
        """Align KL rows with prompts; return an int8 flag for doses where this is impossible."""
        kl, pmass, lengths = (self.rows[name] for name in ("kl", "pmass_eval", "gen_len"))
        flags = np.zeros(len(alphas), dtype=np.int8)
        counts: list[tuple[int, int]] = []
        for i, alpha in enumerate(alphas):
            n_pmass = len(pmass.get(alpha, ()))
            if alpha in kl and alpha in lengths and n_pmass in (0, lengths[alpha].size):
                kl[alpha] = on_prompts(kl[alpha], lengths[alpha])
            n_kl = len(kl.get(alpha, ()))
            if unpaired(n_kl, n_pmass):
                flags[i] = 1
                counts.append((n_kl, n_pmass))
        if counts:
            at = _listed([alpha for alpha, flag in zip(alphas, flags, strict=True) if flag])
            self.notes.append(
                f"{PMASS}: KL and pmass cannot be paired at alpha {at}: "
                f"{counts[0][0]} rows of KL, {counts[0][1]} of pmass_eval"
            )
        return flags

    def _note_contradictions(self, alpha: Alphas, data: Mapping[str, Any]) -> None:
        """Note evidence that the files come from different runs."""
        c_star, tried = data["c_star"], data["calib_coeff"]
        off = consistency.coeff_mismatch(data["coeff"], alpha, c_star)
        if (off > consistency.SAME_COEFFICIENT).any():
            i = int(np.argmax(off > consistency.SAME_COEFFICIENT))
            self.notes.append(
                f"{RESULTS}: coeff is {data['coeff'][i]:g} at alpha {alpha[i]:g}, but alpha x "
                f"c_star is {alpha[i] * c_star:g}: from a different run than {CALIBRATION}"
            )
        if np.isfinite(tried).any() and not consistency.was_tried(c_star, tried):
            self.notes.append(
                f"{HISTORY}: no step tried c_star = {c_star:g}: "
                f"from a different run than {CALIBRATION}"
            )
        if data["calib_newer"]:
            self.notes.append(
                f"{CALIBRATION}: newer than the results, which may be from an earlier run"
            )

    def _cast_rows(
        self, file: str, place: str, rows: object, length: int, *, cut: bool = False
    ) -> m.FloatArray:
        return self._cast(file, place, m.padded_rows(rows, place, length, cut=cut), self.dtype)

    def _cast(
        self, file: str, place: str, exact: m.FloatArray, dtype: str = "float32"
    ) -> m.FloatArray:
        """Cast values to the storage dtype, and note the first that rounding changes noticeably."""
        values = m.cast(exact, dtype)
        lost = m.lossy(exact, values)
        if lost.any():
            first = tuple(np.argwhere(lost)[0])
            at = "".join(f"[{i}]" for i in first)
            advice = "; --dtype=float64 does" if exact.ndim > 1 else ""
            self.notes.append(
                f"{file}: float32 does not hold {place}{at} = {exact[first]:g} "
                f"to within {m.FLOAT32_TOLERANCE:g} (one of {lost.sum()}){advice}"
            )
        return values

    def _stacked(self, name: str, alphas: list[float]) -> Any:
        """Stack rows of all doses into one array (alpha, row, ...), padded to the largest."""
        found, var = self.rows[name], schema.DATA[name]
        dims = len(var.dims) - 2
        shapes = [values.shape for values in found.values()]
        largest = tuple(map(max, *shapes, (0,) * dims)) if shapes else (0,) * dims
        m.refuse_padding(
            (len(alphas), *largest), sum(values.size for values in found.values()), name
        )
        dtype = self.dtype if var.measured else var.dtype
        out = np.full((len(alphas), *largest), var.fill, dtype=dtype)
        for i, alpha in enumerate(alphas):
            if alpha in found:
                values = found[alpha]
                out[i][tuple(map(slice, values.shape))] = values
        return out


def _listed(alphas: Iterable[float]) -> str:
    return ", ".join(f"{alpha:g}" for alpha in alphas)


def _relabelled(rows: dict[float, Any], label: Mapping[float, float]) -> dict[float, Any]:
    out = {label[alpha]: values for alpha, values in rows.items()}
    if len(out) < len(rows):
        raise ValueError("alphas differ too little to be matched between files")
    return out
