"""A cell's folder as something that doses are added to, each file in one step."""

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
    """How a file's text is taken apart, and put together again.

    Parameters
    ----------
    by_alpha : callable
        Lines of a text by alpha, as it is spelt there; ValueError at one that has none.
    text : callable
        The text of lines.
    """

    by_alpha: Callable[[str], ByAlpha]
    text: Callable[[Sequence[str]], str]


def _results(text: str) -> ByAlpha:
    header, *lines = text.splitlines() or [""]
    if header != RESULTS_HEADER:
        raise ValueError(f"line 1 is {m.shorten(header)}, not {RESULTS_HEADER}")
    found: ByAlpha = {}
    for i, line in enumerate(lines, start=2):
        alpha = line.partition(",")[0]
        m.alpha_of(alpha, f"line {i}, alpha")
        found[alpha] = [line]
    return found


def _generations(text: str) -> ByAlpha:
    found: ByAlpha = {}
    # Not splitlines: characters that it takes for the end of a line may stand in a text.
    for i, line in enumerate(text.removesuffix("\n").split("\n"), start=1):
        try:
            alpha = m.named(m.mapping(json.loads(line), "it"), "alpha")
            found.setdefault(repr(m.finite(alpha, "alpha")), []).append(line)
        except ValueError as error:
            raise ValueError(f"line {i} is no generation: {error}") from error
    return found


LINES = {
    RESULTS: Lines(_results, lambda lines: "\r\n".join([RESULTS_HEADER, *lines, ""])),
    GENERATIONS: Lines(_generations, lambda lines: "\n".join([*lines, ""])),
}
"""Of results.csv, whose lines end as csv's do, and gens.jsonl."""


SWEEP = (TRAJECTORY, RESULTS, GENERATIONS, PMASS)
"""What a dose is written to, in this order: with the last one it is complete."""

KL = "per_prompt_per_t_kl"
COMPLETED = "completed_alphas"
FIRST = {
    TRAJECTORY: ("fork_points_full", "per_t_p95_kl", KL),
    PMASS: (
        *("fork_points", "pmass", "pmass_eval", "p_true", "argmax_str", "was_thinking"),
        *("answer_label", "gen_lens_qa", "gen_lens_eval", "repetition_eval"),
        *("prefill", "schema", "questions", "answer_key", "computed", COMPLETED),
    ),
}
"""The order of keys, whichever batch was the first to have them."""

MISSING = object()


@dataclass
class CellFiles:
    """The files of a folder, and what they become.

    Parameters
    ----------
    folder : Path
        Need not exist.
    calib : dict, optional
        Content of calib.json; None where the cell was not begun.
    history : list of dict
        Content of history.json, empty where there is none.
    content : dict
        ``{file: {key: {alpha as it is spelt there: value}}}``, beside keys that are by no alpha;
        the lines of files that are no JSON stand under the key ``""``.
    """

    folder: Path
    calib: Json | None
    history: list[Json]
    content: dict[str, Json]

    @classmethod
    def read(cls, folder: Path) -> CellFiles:
        """Take in what there is.

        Raises
        ------
        CellError
            When a file cannot be read, or there are results of an unknown calibration.
        """
        sources = Sources(folder)
        sources.read(CALIBRATION, HISTORY, *SWEEP)
        calib, history = sources.json(CALIBRATION), sources.json(HISTORY)
        content: dict[str, Json] = {}
        for file in SWEEP:
            found = _found(sources, file)
            if found and calib is None:
                raise CellError(folder, CALIBRATION, f"missing, and there is {file}")
            content[file] = found
        with _naming(folder, CALIBRATION):
            known = None if calib is None else m.mapping(calib, "the file")
        with _naming(folder, HISTORY):
            steps = m.array(history or [], "the file")
        return cls(folder, known, steps, content)

    @property
    def completed(self) -> list[float]:
        """Doses that are complete, ascending: as pmass.json says, else all that it can tell of."""
        pmass = self.content[PMASS]
        if not pmass:
            return []
        with _naming(self.folder, PMASS):
            keys = pmass.get(COMPLETED)
            if keys is None:
                keys = [*pmass.get("pmass_eval", {}), *self.content[TRAJECTORY].get(KL, {})]
            return sorted({m.alpha_of(str(key), COMPLETED) for key in m.array(keys, COMPLETED)})

    def begin(self, calib: Json, history: list[Json]) -> None:
        """Write the calibration, or see that it is the same."""
        if self.calib is None:
            texts = {CALIBRATION: pretty(calib)} | ({HISTORY: pretty(history)} if history else {})
            _make(self.folder, texts)
            self.calib, self.history = calib, history
            return
        self.refuse_other(calib)
        if history and not self.history:
            _write(self.folder / HISTORY, pretty(history))
            self.history = history
        elif history:
            _refuse_difference(self.folder / HISTORY, _numbered(self.history), _numbered(history))

    def refuse_other(self, calib: Json) -> None:
        """Raise UsageError where the cell was made with something else than `calib`.

        A `calib` without ``c_star`` says nothing about it.
        """
        there = {k: v for k, v in (self.calib or {}).items() if k in calib or k != "c_star"}
        there.setdefault("target_stat", "p95")
        _refuse_difference(self.folder / CALIBRATION, there, calib)

    def add(self, alphas: list[float], records: Records, asked: Json, tokens: list[int]) -> None:
        """Write doses that are not complete, and see that those that are have the same numbers.

        `asked` is what pmass.json says of all doses, `tokens` those of the window.
        """
        pmass, done = self.content[PMASS], self.completed
        if pmass:
            there = {key: pmass[key] for key in asked if key in pmass}
            # Cells of older versions have no answer key: it is added to them.
            here = {key: asked[key] for key in asked if key in pmass or key != "answer_key"}
            _refuse_difference(self.folder / PMASS, there, here)
        fresh = [i for i, alpha in enumerate(alphas) if not any(same_dose(alpha, a) for a in done)]
        for i in set(range(len(alphas))) - set(fresh):
            self._refuse_other_numbers(alphas[i], {at: each[i] for at, each in records.items()})
        if not fresh:
            return
        for (file, key), values in records.items():
            mine = {alphas[i]: values[i] for i in fresh}
            self.content[file][key] = _merged(self._by_alpha(file, key), mine)
        self.content[TRAJECTORY]["fork_points_full"] = tokens
        done = sorted([*done, *(alphas[i] for i in fresh)])
        pmass |= {**asked, COMPLETED: [*map(repr, done)]}
        for file in SWEEP:
            if file != GENERATIONS or any(self.content[file][""].values()):
                _write(self.folder / file, self._text(file))

    def _by_alpha(self, file: str, key: str) -> dict[float, tuple[str, Any]]:
        """``{alpha: (its spelling, value)}``."""
        with _naming(self.folder, file):
            table = m.mapping(self.content[file].get(key, {}), key)
            return {m.alpha_of(k, f"a key of {key}"): (k, value) for k, value in table.items()}

    def _text(self, file: str) -> str:
        content = self.content[file]
        if file in LINES:
            lines = [line for each in content[""].values() for line in each]
            return LINES[file].text(lines)
        first = FIRST[file]
        keys = [*(key for key in first if key in content), *(k for k in content if k not in first)]
        return pretty({key: content[key] for key in keys})

    def _refuse_other_numbers(self, alpha: float, values: Mapping[tuple[str, str], Any]) -> None:
        for (file, key), value in values.items():
            found = [e for a, e in self._by_alpha(file, key).items() if same_dose(a, alpha)] or [
                ("", [])
            ]
            for spelling, there in found:
                if json.dumps(there) != json.dumps(value):
                    place = f'{key}["{spelling or alpha}"]' if key else f"alpha {alpha:g}"
                    state = "is there already, and differs" if spelling else "is not there"
                    raise UsageError(f"{self.folder / file}: {place} {state}: the dose is complete")


def make_parent(folder: Path) -> None:
    """Make the runs root of a cell's folder, if need be."""
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


def _found(sources: Sources, file: str) -> Json:
    """Content of one file of a sweep, empty where there is none."""
    content = sources.bytes(file)
    with _naming(sources.folder, file):
        if content is None:
            return {}
        if file in LINES:
            return {"": LINES[file].by_alpha(content.decode("utf-8"))}
        return m.mapping(sources.json(file), "the file")


def _numbered(items: list[Any]) -> Json:
    return {f"[{i}]": item for i, item in enumerate(items)}


def _merged(there: Mapping[float, tuple[str, Any]], here: Mapping[float, Any]) -> Json:
    """By alpha, ascending; what is here takes the place of what is there."""
    kept = {a: each for a, each in there.items() if not any(same_dose(a, alpha) for alpha in here)}
    both = kept | {alpha: (repr(alpha), value) for alpha, value in here.items()}
    return {spelling: value for _, (spelling, value) in sorted(both.items())}


def _refuse_difference(path: Path, there: Json, here: Json, place: str = "") -> None:
    """Raise UsageError at the first difference between two objects."""
    for key in [*there, *(key for key in here if key not in there)]:
        old, new = there.get(key, MISSING), here.get(key, MISSING)
        if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
            _refuse_difference(path, _numbered(old), _numbered(new), f"{place}{key}")
        elif isinstance(old, dict) and isinstance(new, dict):
            _refuse_difference(path, old, new, f"{place}{key}.")
        elif old is MISSING or new is MISSING or json.dumps(old) != json.dumps(new):
            raise UsageError(
                f"{path}: {place}{key} is {_said(old)} there, and {_said(new)} here: give what it "
                "was begun with, or write elsewhere"
            )


def _said(value: object) -> str:
    return "not given" if value is MISSING else m.shorten(value)


def _make(folder: Path, texts: Mapping[str, str]) -> None:
    """Make a folder with files in one step, or add them to one that is there."""
    if folder.exists():
        for file, text in texts.items():
            _write(folder / file, text)
        return
    with workspace(folder) as room:
        try:
            (room / "cell").mkdir()
            for file, text in texts.items():
                with (room / "cell" / file).open("w", encoding="utf-8") as opened:
                    opened.write(text)
                    opened.flush()
                    os.fsync(opened.fileno())
            (room / "cell").rename(folder)
        except OSError as error:
            raise BuildError(f"{folder}: cannot be written: {error.strerror}") from error


def _write(path: Path, text: str) -> None:
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="")
