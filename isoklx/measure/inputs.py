"""The files of a run: pairs, prompts and questions, read before any model is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from isoklx.errors import UsageError
from isoklx.measure import prompts
from isoklx.measure.prompts import InputFile, Pair, Question
from isoklx.measure.settings import Settings

TRIES = 5
"""Coefficients that a calibration tries as a rule; what a run is expected to take counts on it."""


@dataclass(frozen=True)
class Inputs:
    """The files of a run, read once for all of its models.

    Parameters
    ----------
    pairs : InputFile of Pair, optional
        None where the direction is in a file.
    prompts, calib_prompts : InputFile of str
        Held out, and for the calibration.
    questions : InputFile of Question, optional
        None where none is asked.
    """

    pairs: InputFile[Pair] | None
    prompts: InputFile[str]
    calib_prompts: InputFile[str]
    questions: InputFile[Question] | None

    @property
    def files(self) -> dict[str, InputFile[Any]]:
        """Those that there are, by what they hold."""
        files = {
            "pairs": self.pairs,
            "prompts": self.prompts,
            "calib_prompts": self.calib_prompts,
            "questions": self.questions,
        }
        return {name: file for name, file in files.items() if file is not None}

    @property
    def sha256(self) -> dict[str, str]:
        """Of each file of prompts, by what it holds."""
        return {name: file.sha256 for name, file in self.files.items() if name != "pairs"}


def read_inputs(settings: Settings) -> Inputs:
    """Read the files of a run; the package's own where none is named.

    Raises
    ------
    UsageError
        Naming file and line of what is wrong, as of a prompt that the calibration has as well.
    """
    questions = None
    if settings.ask:
        read = prompts.read_questions(settings.questions or prompts.QUESTIONS)
        questions = read if read.rows else None
    pairs = None
    if settings.vector is None:
        pairs = prompts.read_pairs(settings.pairs or prompts.PAIRS)
    held_out = prompts.read_prompts(settings.prompts or prompts.PROMPTS)
    calib_prompts = prompts.read_prompts(settings.calib_prompts or prompts.CALIB_PROMPTS)
    _refuse_shared(held_out, calib_prompts)
    return Inputs(pairs, held_out, calib_prompts, questions)


def expected_tokens(
    inputs: Inputs, settings: Settings, *, doses: int | None = None, tries: int = TRIES
) -> int:
    """Tokens that a cell decodes at most: so many of its doses, all by default, and tries."""
    held_out = len(inputs.prompts.rows)
    asked = 0 if inputs.questions is None else len(inputs.questions.rows)
    doses = len(settings.alphas) if doses is None else doses
    rollouts = (held_out + asked) * doses + len(inputs.calib_prompts.rows) * tries
    return rollouts * settings.window


def _refuse_shared(held_out: InputFile[str], calib_prompts: InputFile[str]) -> None:
    """Refuse a prompt of both: what c_star was fitted to says nothing of how it carries over."""
    used = dict(zip(calib_prompts.rows, calib_prompts.lines, strict=True))
    for prompt, line in zip(held_out.rows, held_out.lines, strict=True):
        if prompt in used:
            raise UsageError(
                f"{held_out.path}: line {line}: is line {used[prompt]} of {calib_prompts.path} as "
                "well: calibration prompts must be others than those that are held out"
            )
