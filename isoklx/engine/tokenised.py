"""What a model is given: the prompts of a run as its token ids, and what it is asked at a fork."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from isoklx.cells.rollout_checks import digest
from isoklx.engine import chat
from isoklx.engine.activations import pair_ids
from isoklx.engine.chat import AnswerIds
from isoklx.engine.inputs import InputFile, Inputs, Question
from isoklx.engine.loading import LoadedModel
from isoklx.engine.settings import Settings, fork_points
from isoklx.engine.templates import chat_template
from isoklx.errors import MeasureError

log = logging.getLogger("isoklx.engine")


@dataclass(frozen=True)
class Tokenised:
    """The inputs of a run as a model's token ids.

    Parameters
    ----------
    prompts, calib_prompts, questions : list of list of int
        Each up to where the assistant begins to speak.
    pairs : list of list of int
        Both answers of each pair, up to the token at which its state is read.
    forks : tuple of int
        Generated tokens after which a rollout is asked.
    tail : list of int
        The tokens that ask.
    answers : AnswerIds
        The tokens that count as an answer.
    eos_ids : frozenset of int
        The tokens that end a rollout.
    template : str or None
        The chat template that wrote all of it.
    """

    prompts: Sequence[Sequence[int]]
    calib_prompts: Sequence[Sequence[int]]
    questions: Sequence[Sequence[int]]
    pairs: Sequence[Sequence[int]]
    forks: tuple[int, ...]
    tail: Sequence[int]
    answers: AnswerIds
    eos_ids: frozenset[int]
    template: str | None

    @property
    def identity(self) -> dict[str, str]:
        """Of what the model reads, by content."""
        ids = {
            "prompt_ids": self.prompts,
            "calib_prompt_ids": self.calib_prompts,
            "question_ids": self.questions,
            "pair_ids": self.pairs,
            "suffix_ids": [self.tail],
        }
        template = "none" if self.template is None else digest(self.template)
        return {
            "chat_template": template,
            **{name: digest([*map(list, each)]) for name, each in ids.items() if each},
        }


def tokenise(loaded: LoadedModel, inputs: Inputs, settings: Settings) -> Tokenised:
    """Write the prompts of a run as a model's token ids.

    Raises
    ------
    UsageError
        Where a prompt and its rollout are longer than the model's context.
    MeasureError
        Where the chat template refuses, or an answer has no token of its own.
    """
    context, tokenizer = chat.context_length(loaded.model), loaded.tokenizer

    def encoded(read: InputFile[str] | InputFile[Question], tail_length: int) -> list[list[int]]:
        return chat.encode_prompts(
            tokenizer, read, context=context, window=settings.window, tail=tail_length
        )

    with _naming(loaded.name):
        tail = chat.tail_ids(tokenizer)
        pairs: list[list[int]] = []
        if inputs.pairs is not None:
            with _naming(str(inputs.pairs.path)):
                pairs = pair_ids(tokenizer, inputs.pairs.rows, settings.token)
        return Tokenised(
            prompts=encoded(inputs.prompts, len(tail)),
            calib_prompts=encoded(inputs.calib_prompts, 0),
            questions=[] if inputs.questions is None else encoded(inputs.questions, len(tail)),
            pairs=pairs,
            forks=fork_points(settings.forks, settings.window),
            tail=tail,
            answers=chat.answer_ids(tokenizer),
            eos_ids=chat.eos_ids(loaded.model, tokenizer),
            template=chat_template(tokenizer),
        )


def say_conventions(loaded: LoadedModel) -> None:
    """Log how prompts are written without a chat template, and an end of turn that is not named.

    Raises
    ------
    MeasureError
        Where the chat template refuses.
    """
    with _naming(loaded.name):
        if chat_template(loaded.tokenizer) is None:
            log.info("%s: no chat template: prompts are written as User:/Assistant:", loaded.name)
        end = chat.turn_end_id(loaded.tokenizer)
    if end is not None and end not in chat.named_eos_ids(loaded.model, loaded.tokenizer):
        log.warning(
            "%s: %s ends a turn in the chat template, and neither model nor tokenizer names it as "
            "an end token: a rollout ends with it",
            loaded.name,
            loaded.tokenizer.decode([end]),
        )


@contextmanager
def _naming(place: str) -> Iterator[None]:
    try:
        yield
    except MeasureError as error:
        raise MeasureError(f"{place}: {error}") from error
