"""Measured arrays of some doses, checked, and as a cell's files have them."""

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
"""Of generations: from prompts, and from questions."""

ANSWERS = ("argmax_str", "was_thinking", "answer_label")
"""What else pmass.json says of each question at each fork."""

Ints = npt.NDArray[np.int64]
Records = dict[tuple[str, str], list[Any]]
"""{(file, key): one value per dose}, for files without keys under the key ``""``."""


@dataclass(frozen=True, kw_only=True)
class Doses:
    """Some doses of a cell, with the arrays that `write_cell` describes.

    Raises
    ------
    UsageError
        From `records`, at the first array whose shape or values do not fit.
    """

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
        """Whether there is any pmass."""
        return self.pmass_eval is not None or self.pmass is not None

    def labels(self) -> list[float]:
        """The alphas, as floats, none of them twice."""
        found: list[float] = []
        for i, value in enumerate(self.alphas):
            alpha = _finite(value, f"alphas[{i}]") + 0.0
            if any(same_dose(alpha, other) for other in found):
                raise UsageError(f"alphas: {alpha:g} is there twice")
            found.append(alpha)
        return found

    def fork_points(self, window: int) -> list[int]:
        """The forks, as whole numbers that rise."""
        try:
            forks: list[int] = m.increasing([int(fork) for fork in self.forks], "forks").tolist()
        except (TypeError, ValueError) as error:
            raise UsageError(str(error)) from error
        if forks and forks[-1] > window:
            raise UsageError(f"forks: {forks[-1]} is beyond the window of {window}")
        return forks

    def records(self, window: int, c_star: float, questions: int) -> Records:
        """What each file says of each dose."""
        alphas = self.labels()
        if not alphas:
            return {}
        if self.kl is None:
            raise UsageError("kl is missing: give it by (alpha, prompt, token)")
        kl = _numbers("kl", self.kl, (len(alphas), None, None))
        if kl.shape[1] == 0:
            raise UsageError("kl is of no prompts: give at least one")
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
        """Tokens generated (alpha, prompt), within the window and with no KL beyond."""
        last = np.max(np.isfinite(kl) * np.arange(1, kl.shape[2] + 1), axis=2, initial=0)
        if (last > window).any():
            raise UsageError(f"kl has a value at token {last.max() - 1} of a window of {window}")
        if self.gen_len is None:
            return np.asarray(last, dtype=np.int64)
        lengths = _counts("gen_len", self.gen_len, kl.shape[:2], window)
        if (last > lengths).any():
            i, j = np.argwhere(last > lengths)[0]
            found = f"kl has a value at token {last[i, j] - 1}"
            raise UsageError(f"gen_len[{i}, {j}] is {lengths[i, j]}, and {found}")
        if (lengths > kl.shape[2]).any():
            i, j = np.argwhere(lengths > kl.shape[2])[0]
            raise UsageError(
                f"gen_len[{i}, {j}] is {lengths[i, j]}, and kl is of {kl.shape[2]} tokens"
            )
        return lengths

    def _rollouts(self, lengths: Ints, window: int) -> Records:
        """What pmass.json says of the rollouts that have a KL."""
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
        """What pmass.json says of the rollouts from questions: ``[]`` where none was asked."""
        keys = ("pmass", "p_true", *ANSWERS, "gen_lens_qa")
        if self.pmass is None:
            if not (self.p_true is None and self.gen_len_qa is None and self.answers is None):
                raise UsageError("p_true, gen_len_qa and answers need pmass")
            return {(PMASS, key): [[] for _ in range(doses)] for key in keys}
        pmass = _numbers("pmass", self.pmass, (doses, None, len(self.forks)))
        shape = pmass.shape
        if questions not in (0, shape[1]):
            raise UsageError(f"pmass is of {shape[1]} questions, and questions are {questions}")
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
                raise UsageError(f'answers["{key}"] is of {_by(values.shape)}, not {_by(shape)}')
            found[PMASS, key] = plain(values, f'answers["{key}"]')
        return found

    def _at_forks(
        self, name: str, values: npt.ArrayLike | None, lengths: Ints, window: int
    ) -> list[Any]:
        """A probability at each fork, none after the end of its rollout."""
        if values is None:
            return [[] for _ in lengths]
        forks = np.array(self.fork_points(window))
        found = _numbers(name, values, (*lengths.shape, forks.size))
        late = np.isfinite(found) & (forks > lengths[..., np.newaxis])
        if late.any():
            i, j, k = np.argwhere(late)[0]
            found_at = f"{found[i, j, k]:g} at token {forks[k]}"
            raise UsageError(
                f"{name}[{i}, {j}, {k}] is {found_at}, and the rollout ended at {lengths[i, j]}: "
                "give NaN there"
            )
        rows: list[Any] = found.tolist()
        return rows

    def _lines(self, alphas: list[float]) -> list[list[str]]:
        """The lines of gens.jsonl, by dose."""
        lines: list[list[str]] = [[] for _ in alphas]
        for i, generation in enumerate(self.generations):
            place = f"generations[{i}]"
            alpha = _finite(generation.get("alpha"), f'{place}["alpha"]')
            if generation.get("kind") not in KINDS:
                raise UsageError(f'{place}["kind"] is {generation.get("kind")!r}: give eval or qa')
            at = [k for k, other in enumerate(alphas) if same_dose(alpha, other)]
            if not at:
                raise UsageError(f'{place}["alpha"] is {alpha:g}, which is none of these doses')
            lines[at[0]].append(json.dumps(plain(generation, place)))
        return lines


def _finite(value: object, place: str) -> float:
    try:
        return m.finite(plain(value, place), place)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _numbers(name: str, values: npt.ArrayLike, shape: tuple[int | None, ...]) -> Floats:
    """An array as float32 has it, in float64; None in `shape` is any size."""
    try:
        exact = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, RuntimeError) as error:  # torch raises all three
        raise UsageError(f"{name} is no array of numbers: {error}") from error
    fits = exact.ndim == len(shape) and all(
        want in (None, size) for size, want in zip(exact.shape, shape, strict=True)
    )
    if not fits:
        raise UsageError(f"{name} is of {_by(exact.shape)}, not {_by(shape)}")
    with np.errstate(over="ignore", under="ignore"):
        found = float32(exact)
    if np.isinf(found).any():
        place = tuple(np.argwhere(np.isinf(found))[0].tolist())
        raise UsageError(
            f"{name}{[*place]} is {exact[place]:g}: give numbers that float32 holds, or NaN"
        )
    return found


def _counts(name: str, values: npt.ArrayLike, shape: tuple[int, ...], window: int) -> Ints:
    found = _numbers(name, values, shape)
    bad = ~((found >= 0) & (found <= window) & (found == np.round(found)))
    if bad.any():
        place = tuple(np.argwhere(bad)[0].tolist())
        raise UsageError(f"{name}{[*place]} is {found[place]:g}: give tokens from 0 to {window}")
    return found.astype(np.int64)


def _by(shape: Iterable[int | None]) -> str:
    """A shape in words: 2 x 8 x any."""
    return " x ".join("any" if size is None else str(size) for size in shape) or "no dimension"
