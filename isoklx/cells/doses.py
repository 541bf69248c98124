"""Measured arrays of some doses, checked and converted to the content of a cell's files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from isoklx.cells import parsing as m
from isoklx.cells.json_text import plain
from isoklx.cells.layout import GENERATIONS, PMASS, RESULTS, TRAJECTORY
from isoklx.cells.summaries import Floats, float32, p95_over_prompts, results_line
from isoklx.errors import UsageError
from isoklx.schema import same_dose

KINDS = ("eval", "qa")
"""Kinds of generations: from held-out prompts, and from questions."""

ANSWERS = ("argmax_str", "was_thinking", "answer_label")
"""Further keys of pmass.json with a value for each question and fork."""

Ints = npt.NDArray[np.int64]
Records = dict[tuple[str, str], list[Any]]
"""{(file, key): one value per dose}; the key is ``""`` for files that are not JSON objects."""


@dataclass(frozen=True, kw_only=True)
class Doses:
    """Doses of a cell, with the arrays that `write_cell` describes."""

    alphas: Sequence[float]
    kl: npt.ArrayLike | None
    gen_len: npt.ArrayLike | None
    forks: Sequence[int]
    pmass_eval: npt.ArrayLike | None
    pmass: npt.ArrayLike | None
    p_true: npt.ArrayLike | None
    gen_len_qa: npt.ArrayLike | None
    answers: Mapping[str, Any] | None
    repetition: npt.ArrayLike | None
    generations: Iterable[Mapping[str, Any]]

    @property
    def computed(self) -> bool:
        """True where pmass was measured."""
        return self.pmass_eval is not None or self.pmass is not None

    def labels(self) -> list[float]:
        """Return the alphas as floats; refuse duplicates."""
        found: list[float] = []
        for i, value in enumerate(self.alphas):
            alpha = _finite(value, f"alphas[{i}]") + 0.0
            if any(same_dose(alpha, other) for other in found):
                raise UsageError(f"alphas: {alpha:g} occurs twice")
            found.append(alpha)
        return found

    def fork_points(self, window: int) -> list[int]:
        """Return the forks as increasing whole numbers."""
        try:
            forks: list[int] = m.increasing([int(fork) for fork in self.forks], "forks").tolist()
        except (TypeError, ValueError) as error:
            raise UsageError(str(error)) from error
        if forks and forks[-1] > window:
            raise UsageError(f"forks must be at most {window} (the window), got {forks[-1]}")
        return forks

    def records(self, window: int, c_star: float, questions: int) -> Records:
        """Return each file's content by dose; raise UsageError where an array does not fit."""
        alphas = self.labels()
        if not alphas:
            return {}
        if self.kl is None:
            raise UsageError("kl is missing: give an array (alpha, prompt, token)")
        kl = _numbers("kl", self.kl, (len(alphas), None, None))
        if kl.shape[1] == 0:
            raise UsageError("kl must have at least 1 prompt, got 0")
        lengths = self._lengths(kl, window)
        return {
            (TRAJECTORY, "per_t_p95_kl"): [
                p95_over_prompts(rows[:, :window]).tolist() for rows in kl
            ],
            (TRAJECTORY, "per_prompt_per_t_kl"): [
                [row[:end] for row, end in zip(rows.tolist(), ends, strict=True)]
                for rows, ends in zip(kl, lengths.tolist(), strict=True)
            ],
            (RESULTS, ""): [
                [results_line(a, c_star, rows)] for a, rows in zip(alphas, kl, strict=True)
            ],
            (GENERATIONS, ""): self._lines(alphas),
            **self._rollouts(lengths, window),
            **self._questions(len(alphas), window, questions),
        }

    def _lengths(self, kl: Floats, window: int) -> Ints:
        """Return tokens generated (alpha, prompt): at most the window, with no KL beyond."""
        last = np.max(np.isfinite(kl) * np.arange(1, kl.shape[2] + 1), axis=2, initial=0)
        if (last > window).any():
            raise UsageError(
                f"kl must be NaN beyond the window of {window}, "
                f"got a value at token {last.max() - 1}"
            )
        if self.gen_len is None:
            return np.asarray(last, dtype=np.int64)
        lengths = _counts("gen_len", self.gen_len, kl.shape[:2], window)
        if (last > lengths).any():
            i, j = np.argwhere(last > lengths)[0]
            found = f"kl has a value at token {last[i, j] - 1}"
            raise UsageError(f"gen_len[{i}, {j}] is {lengths[i, j]}, but {found}")
        if (lengths > kl.shape[2]).any():
            i, j = np.argwhere(lengths > kl.shape[2])[0]
            raise UsageError(
                f"gen_len[{i}, {j}] is {lengths[i, j]}, but kl has {kl.shape[2]} tokens"
            )
        return lengths

    def _rollouts(self, lengths: Ints, window: int) -> Records:
        """Return pmass.json's entries for rollouts from held-out prompts."""
        pmass = self._at_forks("pmass_eval", self.pmass_eval, lengths, window)
        found: Records = {
            (PMASS, "pmass_eval"): pmass,
            (PMASS, "gen_lens_eval"): lengths.tolist(),
        }
        if self.repetition is not None:
            repetition = _numbers("repetition", self.repetition, lengths.shape)
            found[PMASS, "repetition_eval"] = repetition.tolist()
        return found

    def _questions(self, doses: int, window: int, questions: int) -> Records:
        """Return pmass.json's entries for rollouts from questions; `[]` at doses without any."""
        keys = ("pmass", "p_true", *ANSWERS, "gen_lens_qa")
        if self.pmass is None:
            if not (self.p_true is None and self.gen_len_qa is None and self.answers is None):
                raise UsageError("p_true, gen_len_qa and answers require pmass")
            return {(PMASS, key): [[] for _ in range(doses)] for key in keys}
        pmass = _numbers("pmass", self.pmass, (doses, None, len(self.forks)))
        shape = pmass.shape
        if questions not in (0, shape[1]):
            raise UsageError(f"pmass has {shape[1]} questions, but questions has {questions}")
        lengths: Ints = np.full(shape[:2], window, dtype=np.int64)
        if self.gen_len_qa is not None:
            lengths = _counts("gen_len_qa", self.gen_len_qa, shape[:2], window)
        found: Records = {
            (PMASS, "pmass"): self._at_forks("pmass", pmass, lengths, window),
            (PMASS, "p_true"): self._at_forks("p_true", self.p_true, lengths, window),
            (PMASS, "gen_lens_qa"): [[] for _ in range(doses)],
        }
        if self.gen_len_qa is not None:
            found[PMASS, "gen_lens_qa"] = lengths.tolist()
        answers = self.answers or {}
        for key in ANSWERS:
            values = np.asarray(answers.get(key, np.empty((doses, 0, 0))), dtype=object)
            if key in answers and values.shape != shape:
                raise UsageError(_shape_error(f'answers["{key}"]', shape, values.shape))
            found[PMASS, key] = plain(values, f'answers["{key}"]')
        return found

    def _at_forks(
        self, name: str, values: npt.ArrayLike | None, lengths: Ints, window: int
    ) -> list[Any]:
        """Return a probability at each fork; refuse values after the end of a rollout."""
        if values is None:
            return [[] for _ in lengths]
        forks = np.array(self.fork_points(window))
        found = _numbers(name, values, (*lengths.shape, forks.size))
        late = np.isfinite(found) & (forks > lengths[..., np.newaxis])
        if late.any():
            i, j, k = np.argwhere(late)[0]
            raise UsageError(
                f"{name}[{i}, {j}, {k}] must be NaN after the rollout's end at token "
                f"{lengths[i, j]}, got {found[i, j, k]:g} at token {forks[k]}"
            )
        rows: list[Any] = found.tolist()
        return rows

    def _lines(self, alphas: list[float]) -> list[list[str]]:
        """Return the lines of gens.jsonl for each dose."""
        lines: list[list[str]] = [[] for _ in alphas]
        for i, generation in enumerate(self.generations):
            place = f"generations[{i}]"
            alpha = _finite(generation.get("alpha"), f'{place}["alpha"]')
            if generation.get("kind") not in KINDS:
                raise UsageError(
                    f'{place}["kind"] must be eval or qa, got {generation.get("kind")!r}'
                )
            at = [k for k, other in enumerate(alphas) if same_dose(alpha, other)]
            if not at:
                raise UsageError(f'{place}["alpha"] must be one of alphas, got {alpha:g}')
            lines[at[0]].append(json.dumps(plain(generation, place)))
        return lines


def _finite(value: object, place: str) -> float:
    try:
        return m.finite(plain(value, place), place)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _numbers(name: str, values: npt.ArrayLike, shape: tuple[int | None, ...]) -> Floats:
    """Return an array of float64 rounded to float32; None in `shape` matches any size."""
    try:
        exact = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError) as error:  # torch raises all three
        raise UsageError(f"{name} must be an array of numbers: {error}") from error
    fits = exact.ndim == len(shape) and all(
        want in (None, size) for size, want in zip(exact.shape, shape, strict=True)
    )
    if not fits:
        raise UsageError(_shape_error(name, shape, exact.shape))
    with np.errstate(over="ignore", under="ignore"):
        found = float32(exact)
    if np.isinf(found).any():
        place = tuple(np.argwhere(np.isinf(found))[0].tolist())
        raise UsageError(
            f"{name}{[*place]} must be NaN or within the range of float32, got {exact[place]:g}"
        )
    return found


def _counts(name: str, values: npt.ArrayLike, shape: tuple[int, ...], window: int) -> Ints:
    found = _numbers(name, values, shape)
    bad = ~((found >= 0) & (found <= window) & (found == np.round(found)))
    if bad.any():
        place = tuple(np.argwhere(bad)[0].tolist())
        raise UsageError(
            f"{name}{[*place]} must be a whole number from 0 to {window}, got {found[place]:g}"
        )
    return found.astype(np.int64)


def _shape_error(name: str, expected: Iterable[int | None], found: Iterable[int | None]) -> str:
    return f"{name} must have the shape {_format_shape(expected)}, got {_format_shape(found)}"


def _format_shape(shape: Iterable[int | None]) -> str:
    """Format a shape, such as 2 x 8 x any."""
    return " x ".join("any" if size is None else str(size) for size in shape) or "no dimensions"
