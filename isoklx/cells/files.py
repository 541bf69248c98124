"""A cell's folder, to which doses are added; each file is replaced atomically."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isoklx.cells import parsing as m
from isoklx.cells.doses import Records
from isoklx.cells.json_text import Json, pretty
from isoklx.cells.layout import (
    CALIBRATION,
    GENERATIONS,
    HISTORY,
    PMASS,
    RESULTS,
    TRAJECTORY,
    Sources,
)
from isoklx.cells.summaries import RESULTS_HEADER
from isoklx.errors import BuildError, CellError, UsageError
from isoklx.schema import same_dose
from isoklx.system.atomic import replacing, workspace

ByAlpha = dict[str, list[str]]


@dataclass(frozen=True)
class Lines:
    """Functions that split a text file into lines by alpha, and join lines to a file."""

    by_alpha: Callable[[str], ByAlpha]
    text: Callable[[Sequence[str]], str]


def _split_results(text: str) -> ByAlpha:
    header, *lines = text.splitlines() or [""]
    if header != RESULTS_HEADER:
        raise ValueError(f"line 1 must be {RESULTS_HEADER}, got {m.shorten(header)}")
    found: ByAlpha = {}
    for i, line in enumerate(lines, start=2):
        alpha = line.partition(",")[0]
        m.alpha_of(alpha, f"line {i}, alpha")
        found[alpha] = [line]
    return found


def _split_generations(text: str) -> ByAlpha:
    found: ByAlpha = {}
    # Not splitlines: it also splits at characters that may occur in a text, such as U+2028.
    for i, line in enumerate(text.removesuffix("\n").split("\n"), start=1):
        try:
            alpha = m.named(m.mapping(json.loads(line), "it"), "alpha")
            found.setdefault(repr(m.finite(alpha, "alpha")), []).append(line)
        except ValueError as error:
            raise ValueError(f"line {i} is not a generation: {error}") from error
    return found


LINE_FILES = {
    RESULTS: Lines(_split_results, lambda lines: "\r\n".join([RESULTS_HEADER, *lines, ""])),
    GENERATIONS: Lines(_split_generations, lambda lines: "\n".join([*lines, ""])),
}
"""How to split and join results.csv, whose lines end with CR LF, and gens.jsonl."""


WRITING_ORDER = (TRAJECTORY, RESULTS, GENERATIONS, PMASS)
"""Files of a dose in writing order: the dose is complete once the last is written."""

KL = "per_prompt_per_t_kl"
COMPLETED = "completed_alphas"
KEY_ORDER = {
    TRAJECTORY: ("fork_points_full", "per_t_p95_kl", KL),
    PMASS: (
        *("fork_points", "pmass", "pmass_eval", "p_true", "argmax_str", "was_thinking"),
        *("answer_label", "gen_lens_qa", "gen_lens_eval", "repetition_eval"),
        *("prefill", "schema", "questions", "answer_key", "computed", COMPLETED),
    ),
}
"""Order of keys, regardless of the batch that first wrote them."""

MISSING = object()


@dataclass
class CellFiles:
    """Files of a cell's folder, which need not exist, and their next content.

    `content` is ``{file: {key: {alpha as spelled in the file: value}}}``; keys without alphas stand
    beside these, and files that are not JSON objects have their lines under the key ``""``.
    """

    folder: Path
    calib: Json | None
    history: list[Json]
    content: dict[str, Json]

    @classmethod
    def read(cls, folder: Path) -> CellFiles:
        """Read the files; raise CellError where one is invalid, or results lack a calib.json."""
        sources = Sources(folder)
        sources.read(CALIBRATION, HISTORY, *WRITING_ORDER)
        calib, history = sources.json(CALIBRATION), sources.json(HISTORY)
        content: dict[str, Json] = {}
        for file in WRITING_ORDER:
            found = _load(sources, file)
            if found and calib is None:
                raise CellError(folder, CALIBRATION, f"missing, but {file} exists")
            content[file] = found
        with _naming(folder, CALIBRATION):
            known = None if calib is None else m.mapping(calib, "the file")
        with _naming(folder, HISTORY):
            steps = m.array(history or [], "the file")
        return cls(folder, known, steps, content)

    @property
    def completed(self) -> list[float]:
        """Completed doses, ascending: as recorded in pmass.json, else every dose in it."""
        pmass = self.content[PMASS]
        if not pmass:
            return []
        with _naming(self.folder, PMASS):
            keys = pmass.get(COMPLETED)
            if keys is None:
                keys = [*pmass.get("pmass_eval", {}), *self.content[TRAJECTORY].get(KL, {})]
            return sorted({m.alpha_of(str(key), COMPLETED) for key in m.array(keys, COMPLETED)})

    def begin(self, calib: Json, history: list[Json]) -> None:
        """Write the calibration, or raise UsageError where the recorded one differs."""
        if self.calib is None:
            texts = {CALIBRATION: pretty(calib)} | ({HISTORY: pretty(history)} if history else {})
            _create(self.folder, texts)
            self.calib, self.history = calib, history
            return
        self.refuse_other(calib)
        if history and not self.history:
            _write(self.folder / HISTORY, pretty(history))
            self.history = history
        elif history:
            _refuse_difference(self.folder / HISTORY, _by_index(self.history), _by_index(history))

    def refuse_other(self, calib: Json) -> None:
        """Raise UsageError where the recorded calib.json differs; ``c_star`` may be left out."""
        there = {k: v for k, v in (self.calib or {}).items() if k in calib or k != "c_star"}
        there.setdefault("target_stat", "p95")
        _refuse_difference(self.folder / CALIBRATION, there, calib)

    def add(self, alphas: list[float], records: Records, probes: Json, tokens: list[int]) -> None:
        """Write new doses; raise UsageError where a completed one has other numbers.

        `probes` holds the entries of pmass.json that do not depend on the dose.
        """
        pmass, done = self.content[PMASS], self.completed
        if pmass:
            there = {key: pmass[key] for key in probes if key in pmass}
            # Cells of older versions lack an answer key: add it.
            here = {key: probes[key] for key in probes if key in pmass or key != "answer_key"}
            _refuse_difference(self.folder / PMASS, there, here)
        fresh = [i for i, alpha in enumerate(alphas) if not any(same_dose(alpha, a) for a in done)]
        for i in set(range(len(alphas))) - set(fresh):
            self._refuse_other_numbers(alphas[i], {at: each[i] for at, each in records.items()})
        if not fresh:
            return
        for (file, key), values in records.items():
            new = {alphas[i]: values[i] for i in fresh}
            self.content[file][key] = _merge(self._by_alpha(file, key), new)
        self.content[TRAJECTORY]["fork_points_full"] = tokens
        done = sorted([*done, *(alphas[i] for i in fresh)])
        pmass |= {**probes, COMPLETED: [*map(repr, done)]}
        for file in WRITING_ORDER:
            if file != GENERATIONS or any(self.content[file][""].values()):
                _write(self.folder / file, self._text(file))

    def _by_alpha(self, file: str, key: str) -> dict[float, tuple[str, Any]]:
        """Return ``{alpha: (its spelling, value)}``."""
        with _naming(self.folder, file):
            table = m.mapping(self.content[file].get(key, {}), key)
            return {m.alpha_of(k, f"a key of {key}"): (k, value) for k, value in table.items()}

    def _text(self, file: str) -> str:
        content = self.content[file]
        if file in LINE_FILES:
            lines = [line for each in content[""].values() for line in each]
            return LINE_FILES[file].text(lines)
        order = KEY_ORDER[file]
        keys = [*(key for key in order if key in content), *(k for k in content if k not in order)]
        return pretty({key: content[key] for key in keys})

    def _refuse_other_numbers(self, alpha: float, values: Mapping[tuple[str, str], Any]) -> None:
        for (file, key), value in values.items():
            found = [e for a, e in self._by_alpha(file, key).items() if same_dose(a, alpha)] or [
                ("", [])
            ]
            for spelling, there in found:
                if json.dumps(there) != json.dumps(value):
                    place = f'{key}["{spelling or alpha}"]' if key else f"alpha {alpha:g}"
                    state = "differs from the recorded value" if spelling else "is not recorded"
                    raise UsageError(
                        f"{self.folder / file}: {place} {state}, but the dose is complete"
                    )


def make_parent(folder: Path) -> None:
    """Create the runs root of a cell's folder if needed."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BuildError(f"{folder.parent}: cannot be made: {error.strerror}") from error


@contextlib.contextmanager
def _naming(folder: Path, file: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise CellError(folder, file, str(error)) from error


def _load(sources: Sources, file: str) -> Json:
    """Return the content of a file; empty where the file is absent."""
    content = sources.bytes(file)
    with _naming(sources.folder, file):
        if content is None:
            return {}
        if file in LINE_FILES:
            return {"": LINE_FILES[file].by_alpha(content.decode("utf-8"))}
        return m.mapping(sources.json(file), "the file")


def _by_index(items: list[Any]) -> Json:
    return {f"[{i}]": item for i, item in enumerate(items)}


def _merge(there: Mapping[float, tuple[str, Any]], here: Mapping[float, Any]) -> Json:
    """Return the values by alpha, ascending; `here` takes precedence."""
    kept = {a: each for a, each in there.items() if not any(same_dose(a, alpha) for alpha in here)}
    both = kept | {alpha: (repr(alpha), value) for alpha, value in here.items()}
    return {spelling: value for _, (spelling, value) in sorted(both.items())}


def _refuse_difference(path: Path, there: Json, here: Json, place: str = "") -> None:
    """Raise UsageError at the first difference between two objects."""
    for key in [*there, *(key for key in here if key not in there)]:
        old, new = there.get(key, MISSING), here.get(key, MISSING)
        if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
            _refuse_difference(path, _by_index(old), _by_index(new), f"{place}{key}")
        elif isinstance(old, dict) and isinstance(new, dict):
            _refuse_difference(path, old, new, f"{place}{key}.")
        elif old is MISSING or new is MISSING or json.dumps(old) != json.dumps(new):
            raise UsageError(
                f"{path}: {place}{key} is {_show(old)} in the file, but {_show(new)} now: "
                "give the recorded value, or write to another folder"
            )


def _show(value: object) -> str:
    return "not given" if value is MISSING else m.shorten(value)


def _create(folder: Path, texts: Mapping[str, str]) -> None:
    """Create a folder with files atomically, or add files to an existing folder."""
    if folder.exists():
        for file, text in texts.items():
            _write(folder / file, text)
        return
    with workspace(folder) as temporary:
        try:
            (temporary / "cell").mkdir()
            for file, text in texts.items():
                with (temporary / "cell" / file).open("w", encoding="utf-8") as opened:
                    opened.write(text)
                    opened.flush()
                    os.fsync(opened.fileno())
            (temporary / "cell").rename(folder)
        except OSError as error:
            raise BuildError(f"{folder}: cannot be written: {error.strerror}") from error


def _write(path: Path, text: str) -> None:
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="")
