"""Token ids of prompts, answers and the suffix with which a fork probes the model.

A chat template writes whole conversations, which are tokenised once with nothing added: templates
write the special tokens themselves. A model without one reads ``User: ...`` and ``Assistant:``
lines, with the tokens that its tokenizer adds to a text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from isoklx.engine.inputs import InputFile, Question
from isoklx.engine.templates import Turn, chat_template, pieces, render
from isoklx.errors import MeasureError, UsageError


@dataclass(frozen=True)
class AnswerIds:
    """Token ids of all single-token spellings of the two answers: sorted, disjoint, not empty."""

    true_ids: tuple[int, ...]
    false_ids: tuple[int, ...]

    def __post_init__(self) -> None:
        for name, ids in (("true", self.true_ids), ("false", self.false_ids)):
            if not ids:
                raise MeasureError(f"answer {name!r} must have a single-token spelling, got none")
            object.__setattr__(self, f"{name}_ids", tuple(sorted(set(ids))))
        both = sorted(set(self.true_ids) & set(self.false_ids))
        if both:
            raise MeasureError(f"token {both[0]} is listed both as true and as false")


ASK = '{"choice": true/false}'
"""Message of the user at a fork: the form of an answer, short as every fork reads it."""

PREFIX = '{"choice":'
"""Start of the answer, without a final space: in most vocabularies the next token has it."""

OPEN, CLOSE = "<think>", "</think>"

SPELLINGS = {
    answer: tuple(
        space + word
        for space in ("", " ", "Ġ", "▁")  # the last two are a space in two kinds of vocabulary
        for word in (answer, answer.capitalize(), answer.upper())
    )
    for answer in ("true", "false")
}
"""Spellings of each answer; the ones that are a single token count."""


def prompt_ids(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """Return the token ids of a prompt, up to and including the template's generation prompt."""
    if chat_template(tokenizer) is None:
        return _plain_ids(tokenizer, f"User: {prompt}\nAssistant:")
    # A thought or channel that the generation prompt leaves to the model is part of the rollout.
    return _ids(tokenizer, render(tokenizer, [("user", prompt)], add_generation_prompt=True))


def answered_ids(
    tokenizer: PreTrainedTokenizerBase, prompt: str | None, answer: str, *, closed: bool = False
) -> list[int]:
    """Return the token ids of an answered prompt, to the answer's last token or the turn's end."""
    content = answer.strip()
    if prompt is None:  # a plain text, not a conversation
        return _plain_ids(tokenizer, content)
    if chat_template(tokenizer) is None:
        return _plain_ids(tokenizer, f"User: {prompt}\nAssistant: {content}")
    text = render(tokenizer, [("user", prompt), ("assistant", content)])
    around = pieces(tokenizer, [("user", prompt), ("assistant", None)])
    if len(around) != 2 or text != content.join(around):
        raise MeasureError(f"the chat template changes the answer {_shorten(content)}")
    return _ids(tokenizer, text if closed else around[0] + content)


def tail_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the token ids of the suffix with which every fork probes the model."""
    if chat_template(tokenizer) is None:
        return _ids(tokenizer, f"\n{PREFIX}")
    # The end of the assistant's turn, the user's question, and the start of an answer where the
    # template writes content. If its generation prompt adds only a thought to that, thinking is
    # switched off or the thought closed.
    turns: list[Turn] = [("user", "?"), ("assistant", None), ("user", ASK)]
    generated = pieces(tokenizer, turns, add_generation_prompt=True, enable_thinking=False)
    written = pieces(tokenizer, [*turns, ("assistant", None)], enable_thinking=False)
    if len(generated) != 2 or len(written) != 3:
        raise MeasureError("the chat template omits earlier messages of the assistant")
    return _ids(tokenizer, f"{_text_before_answer(generated[1], written[1])}{PREFIX}")


def answer_ids(tokenizer: PreTrainedTokenizerBase) -> AnswerIds:
    """Return all single-token spellings of true and false: three cases, with and without space."""
    vocabulary = tokenizer.get_vocab()
    true_ids, false_ids = (
        tuple(vocabulary[spelling] for spelling in SPELLINGS[answer] if spelling in vocabulary)
        for answer in ("true", "false")
    )
    return AnswerIds(true_ids, false_ids)


def eos_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Return the tokens that end a rollout: the named ones and the end of a turn."""
    turn_end = turn_end_id(tokenizer)
    return named_eos_ids(model, tokenizer) | (set() if turn_end is None else {turn_end})


def turn_end_id(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Return the special token by which the chat template ends an assistant's turn, if any."""
    if chat_template(tokenizer) is None:
        return None
    turns: list[Turn] = [("user", "?"), ("assistant", None)]
    # A template may leave the last turn open; then the token that begins the next turn counts.
    last = pieces(tokenizer, turns)[-1]
    closing = last if last.strip() else pieces(tokenizer, [*turns, ("user", "?")])[-1]
    added = tokenizer.added_tokens_decoder
    for token in _ids(tokenizer, closing):
        if token in added and added[token].special:
            return token
        if str(tokenizer.decode([token])).strip():
            break
    return None


def named_eos_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Return the end-of-sequence tokens named by the configurations and the tokenizer."""
    named = [
        getattr(model.generation_config, "eos_token_id", None),
        getattr(model.config.get_text_config(), "eos_token_id", None),
        tokenizer.eos_token_id,
    ]
    return frozenset(token for each in named for token in _as_list(each))


def context_length(model: PreTrainedModel) -> int | None:
    """Return the maximum number of tokens that a model can attend to; None if unlimited."""
    return getattr(model.config.get_text_config(), "max_position_embeddings", None)


def encode_prompts(
    tokenizer: PreTrainedTokenizerBase,
    read: InputFile[str] | InputFile[Question],
    *,
    context: int | None,
    window: int,
    tail: int = 0,
) -> list[list[int]]:
    """Return the token ids of a file's prompts; raise if the context is too short for a rollout."""
    encoded = []
    texts = [row.prompt if isinstance(row, Question) else row for row in read.rows]
    for text, line in zip(texts, read.lines, strict=True):
        ids = prompt_ids(tokenizer, text)
        needed = len(ids) + window + tail
        if context is not None and needed > context:
            raise UsageError(
                f"{read.path}: line {line}: prompt ({len(ids)} tokens), window ({window}) and fork"
                f" suffix ({tail}) must fit into the model's context of {context}, got {needed}"
            )
        encoded.append(ids)
    return encoded


def is_thinking(text: str) -> bool:
    """Return whether a text (prompt and rollout) ends within a thought."""
    return text.rfind(OPEN) > text.rfind(CLOSE)


def thinking_at(
    tokenizer: PreTrainedTokenizerBase,
    token_ids: Sequence[Sequence[int]],
    forks: Sequence[int],
) -> list[list[bool | None]]:
    """Return per rollout and fork whether it was within a thought; None after the rollout's end."""
    opening = ""  # the template may open the thought; the user's text cannot
    if chat_template(tokenizer) is not None:
        opening = pieces(tokenizer, [("user", None)], add_generation_prompt=True)[-1]
    return [
        [
            is_thinking(opening + str(tokenizer.decode(list(ids[:fork]))))
            if fork <= len(ids)
            else None
            for fork in forks
        ]
        for ids in token_ids
    ]


def _text_before_answer(generated: str, written: str) -> str:
    """Return the text up to an assistant's content, with any thought closed."""
    if generated.startswith(written) and OPEN in generated[len(written) :]:
        # Close a thought that the template always opens; other templates close it themselves.
        return f"{generated}\n{CLOSE}\n\n" if is_thinking(generated) else generated
    return written


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _plain_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Tokenise a text with the tokens that the tokenizer adds, except an end-of-sequence token."""
    ids = list(tokenizer(text)["input_ids"])
    return ids[:-1] if ids and ids[-1] == tokenizer.eos_token_id else ids


def _as_list(ids: int | Sequence[int] | None) -> list[int]:
    if ids is None:
        return []
    return [ids] if isinstance(ids, int) else list(ids)


def _shorten(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
