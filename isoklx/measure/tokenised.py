"""What a model is given: the prompts of a run as its token ids, and what it is asked at a fork."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from isoklx.measure import chat
from isoklx.measure.answers import AnswerIds
from isoklx.measure.inputs import Inputs
from isoklx.measure.loading import LoadedModel
from isoklx.measure.prompts import InputFile, Question
from isoklx.measure.settings import Settings, fork_points


@dataclass(frozen=True)
class Tokenised:
    """The inputs of a run as a model's token ids.

    Parameters
    ----------
    prompts, calib_prompts, questions : list of list of int
        Each up to where the assistant begins to speak.
    forks : tuple of int
        Generated tokens after which a rollout is asked.
    tail : list of int
        The tokens that ask.
    answers : AnswerIds
        The tokens that count as an answer.
    eos_ids : frozenset of int
        The tokens that end a rollout.
    """

    prompts: Sequence[Sequence[int]]
    calib_prompts: Sequence[Sequence[int]]
    questions: Sequence[Sequence[int]]
    forks: tuple[int, ...]
    tail: Sequence[int]
    answers: AnswerIds
    eos_ids: frozenset[int]


def tokenise(loaded: LoadedModel, inputs: Inputs, settings: Settings) -> Tokenised:
    """Write the prompts of a run as a model's token ids.

    Raises
    ------
    UsageError
        Where a prompt and its rollout are longer than the model's context.
    MeasureError
        Where the chat template refuses, or an answer has no token of its own.
    """
    tail = chat.tail_ids(loaded.tokenizer)
    context = chat.context_length(loaded.model)

    def encoded(read: InputFile[str] | InputFile[Question], tail_length: int) -> list[list[int]]:
        return chat.encode_prompts(
            loaded.tokenizer, read, context=context, window=settings.window, tail=tail_length
        )

    return Tokenised(
        prompts=encoded(inputs.prompts, len(tail)),
        calib_prompts=encoded(inputs.calib_prompts, 0),
        questions=[] if inputs.questions is None else encoded(inputs.questions, len(tail)),
        forks=fork_points(settings.forks, settings.window),
        tail=tail,
        answers=chat.answer_ids(loaded.tokenizer),
        eos_ids=chat.eos_ids(loaded.model, loaded.tokenizer),
    )
