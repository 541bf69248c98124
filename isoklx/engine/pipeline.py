"""Pipeline of a cell: calibration, then the sweep over doses."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from isoklx.cells.writing import recorded, write_cell
from isoklx.engine.batches import batches_of, each_batch
from isoklx.engine.calibration import calibrate
from isoklx.engine.chat import ASK, PREFIX
from isoklx.engine.checkpoints import KeptBatches, remove_kept
from isoklx.engine.context import Cell
from isoklx.engine.dose_records import DoseRollouts
from isoklx.engine.inputs import TRIES, expected_tokens
from isoklx.engine.rollouts import Rollouts, joined, roll_out
from isoklx.errors import MeasureError
from isoklx.schema import same_dose
from isoklx.system.progress import Meter

log = logging.getLogger("isoklx.engine")

AT_ONCE = {"cuda": 4}
"""Coefficients per round of the calibration, if they fit in a batch; elsewhere one."""

ALIVE = 0.9
"""Mean pmass at alpha 0 below which a warning doubts the question or its answer tokens."""


def make_cell(cell: Cell, folder: Path, kept_in: Path, meter: Meter) -> None:
    """Calibrate a cell and sweep its doses, except for what is already in `folder` or `kept_in`."""
    settings = cell.plan.settings
    before = recorded(folder, cell.calib)
    doses = missing(settings.alphas, () if before is None else before.alphas)
    done = len(settings.alphas) - len(doses)
    tries = 0 if before is None else TRIES
    meter.passed(expected_tokens(cell.inputs, settings, doses=done, tries=tries))
    if before is not None:
        cell.direction.write(folder)  # a run may have been killed just before
        if not doses:
            remove_kept(kept_in)  # likewise
            return
    kept = KeptBatches(kept_in, cell.calib)
    rollouts = _CellRollouts(cell, kept, meter)
    if before is None:
        c_star, history = rollouts.calibrate()
        # The folder appears with both of its files, or not at all.
        write_cell(folder, {"c_star": c_star, **cell.calib}, history=history)
        cell.direction.write(folder)
    else:
        c_star = float(before.calib["c_star"])
    for alphas in doses_at_once(settings.alphas, len(cell.tokenised.prompts), cell.batch):
        left = [alpha for alpha in alphas if alpha in doses]
        if left:
            _write_doses(cell, rollouts, folder, c_star, left)
    kept.remove()


def doses_at_once(alphas: Sequence[float], prompts: int, batch: int) -> list[tuple[float, ...]]:
    """Group doses that are decoded together: as many as fit a batch, at least one."""
    size = max(1, batch // prompts)
    return [tuple(alphas[begin : begin + size]) for begin in range(0, len(alphas), size)]


def tried_at_once(device: str, batch: int, prompts: int) -> int:
    """Return the number of coefficients per calibration round: as many as fit a batch."""
    return max(1, min(AT_ONCE.get(device, 1), batch // prompts))


class _CellRollouts:
    """Rollouts of a cell, batch by batch."""

    def __init__(self, cell: Cell, kept: KeptBatches, meter: Meter) -> None:
        self._cell, self._kept, self._meter = cell, kept, meter
        self._batch = self._last_size = cell.batch

    def begin(self, what: str) -> None:
        """Report the next phase."""
        self._meter.begin(f"{self._cell.plan.run_id}: {what}")

    def forget(self) -> None:
        """Remove the checkpoints of doses that are in the cell."""
        self._kept.forget("eval-")
        self._kept.forget("qa-")

    def calibrate(self) -> tuple[float, list[dict[str, Any]]]:
        """Return the calibrated coefficient and the history of the search."""
        cell, settings = self._cell, self._cell.plan.settings
        prompts = cell.tokenised.calib_prompts
        at_once = tried_at_once(cell.loaded.model.device.type, cell.batch, len(prompts))
        rounds = 0

        def measure(coefficients: Any) -> Any:
            nonlocal rounds
            several = [coefficients] if at_once == 1 else list(coefficients)
            tries = f"try {rounds * at_once + 1}"
            if at_once > 1:
                tries = f"tries {rounds * at_once + 1} to {rounds * at_once + len(several)}"
            coefficients = ", ".join(f"{each:.4g}" for each in several)
            self.begin(f"calibration, {tries}: coefficient {coefficients}")
            rollouts = self.roll_out(f"calib-{rounds:02d}", prompts, several, probe=False)
            rounds += 1
            assert rollouts.kl is not None
            kl = rollouts.kl.reshape(len(several), len(prompts), -1)
            return kl[0] if at_once == 1 else list(kl)

        found = calibrate(
            measure,
            settings.target_kl,
            statistic=settings.statistic,
            start=cell.direction.start if cell.plan.sign == "+" else -cell.direction.start,
            batch=at_once,
        )
        more = rounds * at_once - TRIES
        self._meter.expect(expected_tokens(cell.inputs, settings, doses=0, tries=more))
        if not found.converged:
            self._kept.remove()  # so that other settings can be tried
            raise MeasureError(f"{cell.plan.run_id}: calibration did not converge: {found.reason}")
        tries = len(found.history)
        log.info(
            "%s: calibrated: c_star is %.4g, found in %d %s",
            cell.plan.run_id,
            found.c_star,
            tries,
            "try" if tries == 1 else "tries",
        )
        return found.c_star, found.history

    def roll_out(
        self,
        name: str,
        prompts: Sequence[Sequence[int]],
        coefficients: Sequence[float],
        *,
        probe: bool = True,
        twins: bool = True,
    ) -> Rollouts:
        """Roll out every prompt at every coefficient, all prompts at the first one first."""
        cell = self._cell
        rows = [(prompt, c) for c in coefficients for prompt in range(len(prompts))]
        lengths = [len(prompts[prompt]) for prompt, _ in rows]
        roll = partial(
            roll_out,
            cell.loaded.model,
            cell.direction.steering,
            window=cell.plan.settings.window,
            forks=cell.tokenised.forks if probe else (),
            tails=[cell.tokenised.tail],
            answers=cell.tokenised.answers,
            eos_ids=cell.tokenised.eos_ids,
            twins=twins,
            temperature=cell.plan.settings.temperature,
        )

        def roll_batch(batch: list[int]) -> Rollouts:
            self._last_size = len(batch)
            decoded = partial(
                roll,
                [prompts[rows[row][0]] for row in batch],
                [rows[row][1] for row in batch],
                seeds=self._seeds(name, [rows[row][0] for row in batch]),
                progress=lambda step: self._meter.within(len(batch) * step),
            )
            tokens = len(batch) * cell.plan.settings.window
            place = f"{name}-{batch[0]:05d}-{len(batch)}"
            if self._kept.has(place):
                self._meter.passed(tokens)
                return self._kept.rollouts(place, decoded)
            made = self._kept.rollouts(place, decoded)
            self._meter.decoded(tokens)
            return made

        batches = batches_of(lengths, self._batch, padded=cell.tests.padded)
        return joined(len(rows), each_batch(batches, roll_batch, self._halve))

    def _halve(self, line: str) -> None:
        """Halve the batch size of everything that follows."""
        log.warning("%s: %s", self._cell.plan.run_id, line)
        self._batch = (self._last_size + 1) // 2

    def _seeds(self, name: str, prompts: Sequence[int]) -> list[int] | None:
        """Return a seed per prompt, the same at every dose so that doses are comparable."""
        if self._cell.plan.settings.temperature == 0:
            return None
        kind = ("calib", "eval", "qa").index(name.split("-", maxsplit=1)[0])
        return [
            int(np.random.SeedSequence([self._cell.plan.seed, kind, prompt]).generate_state(1)[0])
            for prompt in prompts
        ]


def _write_doses(
    cell: Cell, cell_rollouts: _CellRollouts, folder: Path, c_star: float, alphas: Sequence[float]
) -> None:
    """Roll out some doses, and add them to the cell."""
    shown = ", ".join(f"{alpha:g}" for alpha in alphas)
    cell_rollouts.begin(f"alpha {shown}")
    given, inputs, tokenizer = cell.tokenised, cell.inputs, cell.loaded.tokenizer
    coefficients = [alpha * c_star for alpha in alphas]

    def doses(kind: str, texts: Sequence[str], prompts: Sequence[Sequence[int]]) -> DoseRollouts:
        # A hash, as a name with many doses would be too long for the file system.
        name = f"{kind}-{sha256(repr(list(alphas)).encode()).hexdigest()[:16]}"
        rollouts = cell_rollouts.roll_out(name, prompts, coefficients, twins=kind == "eval")
        return DoseRollouts(
            kind, alphas, coefficients, texts, prompts, given.forks, given.tail, rollouts
        )

    held_out = doses("eval", inputs.prompts.rows, given.prompts)
    _warn_of_low_pmass(cell, held_out)
    arrays, lines = held_out.arrays(), list(held_out.generations(tokenizer))
    questions: list[str] = []
    answer_key: list[bool] = []
    if inputs.questions is not None:
        questions = [question.prompt for question in inputs.questions.rows]
        answer_key = [question.answer for question in inputs.questions.rows]
        answered = doses("qa", questions, given.questions)
        arrays |= answered.answers(tokenizer, given.answers)
        lines += answered.generations(tokenizer)
    write_cell(
        folder,
        {"c_star": c_star, **cell.calib},
        alphas=alphas,
        forks=given.forks,
        generations=lines,
        questions=questions,
        answer_key=answer_key,
        prefill=PREFIX,
        schema=ASK,
        **arrays,
    )
    cell_rollouts.forget()


def _warn_of_low_pmass(cell: Cell, held_out: DoseRollouts) -> None:
    """Warn, with the most probable other tokens, if the base model does not answer."""
    if 0 not in held_out.alphas:
        return
    prompts, rollouts = len(held_out.prompts), held_out.rollouts
    first = list(held_out.alphas).index(0) * prompts
    pmass: NDArray[np.float32] = rollouts.pmass[first : first + prompts]
    probed = pmass[np.isfinite(pmass)]
    mean = float(probed.mean()) if probed.size else 1.0
    if mean >= ALIVE:
        return
    other = rollouts.top_id[first : first + prompts][pmass < ALIVE]
    answers = {*cell.tokenised.answers.true_ids, *cell.tokenised.answers.false_ids}
    counts = Counter(int(token) for token in other if token >= 0 and token not in answers)
    where = ", ".join(
        f"{cell.loaded.tokenizer.decode([token])!r} {count} times"
        for token, count in counts.most_common(3)
    )
    log.warning(
        "%s: pmass at alpha 0 is %.2f on average: the model does not answer the question of the "
        "forks. Most probable instead: %s",
        cell.plan.run_id,
        mean,
        where or "no other token",
    )


def missing(alphas: Sequence[float], there: Sequence[float]) -> list[float]:
    """Return the doses that are not in the cell."""
    return [alpha for alpha in alphas if not any(same_dose(alpha, a) for a in there)]
