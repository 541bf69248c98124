"""Inputs of a run as a model's token ids."""

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
    """Inputs of a run as a model's token ids."""

    # Each up to the beginning of the assistant's turn.
    prompts: Sequence[Sequence[int]]
    calib_prompts: Sequence[Sequence[int]]
    questions: Sequence[Sequence[int]]
    # Both answers of each pair, up to the token whose state is read.
    pairs: Sequence[Sequence[int]]
    forks: tuple[int, ...]
    tail: Sequence[int]  # suffix that probes the model at a fork
    answers: AnswerIds
    eos_ids: frozenset[int]
    template: str | None

    @property
    def identity(self) -> dict[str, str]:
        """Hashes of everything that the model reads."""
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
    """Encode the inputs of a run; raise UsageError for one beyond the model's context."""
    context, tokenizer = chat.context_length(loaded.model), loaded.tokenizer

    def encoded(read: InputFile[str] | InputFile[Question], tail_length: int) -> list[list[int]]:
        return chat.encode_prompts(
            tokenizer, read, context=context, window=settings.window, tail=tail_length
        )

    with _with_prefix(loaded.name):
        tail = chat.tail_ids(tokenizer)
        pairs: list[list[int]] = []
        if inputs.pairs is not None:
            with _with_prefix(str(inputs.pairs.path)):
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
    """Log the prompt format without a chat template, and an undeclared end-of-turn token."""
    with _with_prefix(loaded.name):
        if chat_template(loaded.tokenizer) is None:
            log.info("%s: no chat template: prompts are written as User:/Assistant:", loaded.name)
        end = chat.turn_end_id(loaded.tokenizer)
    if end is not None and end not in chat.named_eos_ids(loaded.model, loaded.tokenizer):
        log.warning(
            "%s: %s ends a turn in the chat template but is not an end token of model or "
            "tokenizer: a rollout ends with it",
            loaded.name,
            loaded.tokenizer.decode([end]),
        )


@contextmanager
def _with_prefix(prefix: str) -> Iterator[None]:
    try:
        yield
    except MeasureError as error:
        raise MeasureError(f"{prefix}: {error}") from error
