"""From texts to token ids: prompts, answers, and the tail that asks for a verdict at a fork.

A model with a chat template has its conversations written by the template, and tokenised once with
nothing added: a template writes the special tokens itself. A model without one reads
``User: ...`` and ``Assistant:`` lines, with whatever its tokenizer adds to a text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from isoklx.errors import MeasureError, UsageError
from isoklx.measure.answers import AnswerIds
from isoklx.measure.prompts import InputFile, Question

ASK = '{"choice": true/false}'
"""What the user says at a fork: the form of an answer. Short, for every fork reads it."""

PREFIX = '{"choice":'
"""How the answer begins. No space ends it: to most tokenizers the next token begins with one."""

OPEN, CLOSE = "<think>", "</think>"

SPELLINGS = {
    answer: tuple(
        space + word
        for space in ("", " ", "Ġ", "▁")  # two alphabets of tokens write a space so
        for word in (answer, answer.capitalize(), answer.upper())
    )
    for answer in ("true", "false")
}
"""The forms in which each answer is counted where it is a single token."""

_DAY = "{% macro strftime_now(format) %}1 January 2025{% endmacro %}"
_MARK = "ANSWER"


def prompt_ids(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """Token ids of a prompt, up to where the assistant begins to speak.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerBase
        Its chat template, where it has one, writes the prompt.
    prompt : str
        What the user says.

    Returns
    -------
    list of int
        With one beginning-of-sequence token at most.

    Raises
    ------
    MeasureError
        If the template refuses the conversation.
    """
    if tokenizer.chat_template is None:
        return _plain_ids(tokenizer, f"User: {prompt}\nAssistant:")
    return _ids(tokenizer, _render(tokenizer, [_user(prompt)], add_generation_prompt=True))


def answered_ids(
    tokenizer: PreTrainedTokenizerBase, prompt: str | None, answer: str, *, closed: bool = False
) -> list[int]:
    """Token ids of a prompt and an answer to it, up to the answer's last content token.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerBase
        Its chat template, where it has one, writes the conversation.
    prompt : str or None
        What the user says; None where `answer` is a plain text, and no conversation.
    answer : str
        What the assistant says.
    closed : bool
        Go on to the end of the turn, with the tokens by which the template closes it.

    Returns
    -------
    list of int

    Raises
    ------
    MeasureError
        If the template refuses the conversation, or changes the answer.
    """
    content = answer.strip()
    if prompt is None:
        return _plain_ids(tokenizer, content)
    if tokenizer.chat_template is None:
        return _plain_ids(tokenizer, f"User: {prompt}\nAssistant: {content}")
    text = _render(tokenizer, [_user(prompt), _assistant(content)])
    found = text.rfind(content)
    if found < 0:
        raise MeasureError(f"the chat template changes the answer {_brief(content)}")
    return _ids(tokenizer, text if closed else text[: found + len(content)])


def tail_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Token ids that ask for a verdict, wherever a rollout has got to.

    By a chat template: the end of the assistant's turn, a turn of the user that asks, and the
    beginning of an answer, with thinking switched off or closed. Without one the beginning of an
    answer alone, on a new line.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerBase
        Whose chat template ends a turn.

    Returns
    -------
    list of int
        The same after every prompt.

    Raises
    ------
    MeasureError
        If the template does not write an answer that was given before.
    """
    if tokenizer.chat_template is None:
        return _ids(tokenizer, f"\n{PREFIX}")
    turns = [_user("?"), _assistant(_MARK), _user(ASK)]
    text = _render(tokenizer, turns, add_generation_prompt=True, enable_thinking=False)
    _, marked, tail = text.rpartition(_MARK)
    if not marked:
        raise MeasureError("the chat template leaves out what the assistant has said before")
    # A template that always opens a thought has it closed here, as others close it themselves.
    closing = f"\n{CLOSE}\n\n" if is_thinking(tail) else ""
    return _ids(tokenizer, f"{tail}{closing}{PREFIX}")


def answer_ids(tokenizer: PreTrainedTokenizerBase) -> AnswerIds:
    """All single-token spellings of true and false.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerBase
        Whose vocabulary is searched.

    Returns
    -------
    AnswerIds
        Lower case, capitalised and upper case, each with and without a space before it.

    Raises
    ------
    MeasureError
        If an answer is no single token in any spelling.
    """
    vocabulary = tokenizer.get_vocab()
    true_ids, false_ids = (
        tuple(vocabulary[spelling] for spelling in SPELLINGS[answer] if spelling in vocabulary)
        for answer in ("true", "false")
    )
    return AnswerIds(true_ids, false_ids)


def eos_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The tokens that end a rollout, by the model's own settings and its tokenizer's.

    Parameters
    ----------
    model : PreTrainedModel
        Its generation configuration names one, several or none.
    tokenizer : PreTrainedTokenizerBase
        Names one or none.

    Returns
    -------
    frozenset of int
        Empty where nothing ends a rollout but its window.
    """
    named = [
        getattr(model.generation_config, "eos_token_id", None),
        getattr(model.config.get_text_config(), "eos_token_id", None),
        tokenizer.eos_token_id,
    ]
    return frozenset(token for each in named for token in _several(each))


def context_length(model: PreTrainedModel) -> int | None:
    """The most tokens that a model can attend to; None where nothing limits them.

    Parameters
    ----------
    model : PreTrainedModel
        Of any architecture.

    Returns
    -------
    int or None
    """
    return getattr(model.config.get_text_config(), "max_position_embeddings", None)


def encode_prompts(
    tokenizer: PreTrainedTokenizerBase,
    read: InputFile[str] | InputFile[Question],
    *,
    context: int | None,
    window: int,
    tail: int = 0,
) -> list[list[int]]:
    """Token ids of every prompt of a file, each with room for its rollout.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerBase
        As in :func:`prompt_ids`.
    read : InputFile
        Prompts or questions.
    context : int or None
        The model's, in tokens; None where nothing limits it.
    window : int
        Generated tokens at most.
    tail : int
        Tokens that ask at a fork.

    Returns
    -------
    list of list of int
        In the order of the file.

    Raises
    ------
    UsageError
        Naming file and line of the first prompt for which the context is too short.
    MeasureError
        If the template refuses the conversation.
    """
    encoded = []
    texts = [row.prompt if isinstance(row, Question) else row for row in read.rows]
    for text, line in zip(texts, read.lines, strict=True):
        ids = prompt_ids(tokenizer, text)
        needed = len(ids) + window + tail
        if context is not None and needed > context:
            raise UsageError(
                f"{read.path}: line {line}: a prompt of {len(ids)} tokens, a window of {window} and"
                f" {tail} that ask make {needed} tokens, and the model's context is {context}"
            )
        encoded.append(ids)
    return encoded


def is_thinking(text: str) -> bool:
    """Whether a text ends within a thought that has not been closed.

    Parameters
    ----------
    text : str
        Prompt and generated text together: some templates open the thought in the prompt.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_thinking("<think>Let me see"), is_thinking("<think>Well.</think>Yes"), is_thinking("Yes")
    (True, False, False)
    """
    return text.rfind(OPEN) > text.rfind(CLOSE)


def thinking_at(
    tokenizer: PreTrainedTokenizerBase,
    prompt: Sequence[int],
    token_ids: Sequence[int],
    forks: Iterable[int],
) -> list[bool | None]:
    """Whether a rollout was within a thought at its forks.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerBase
        Which decodes them.
    prompt, token_ids : list of int
        Token ids of the prompt and of what was generated.
    forks : list of int
        Numbers of generated tokens.

    Returns
    -------
    list of bool or None
        One per fork; None past the rollout's end.
    """
    return [
        is_thinking(str(tokenizer.decode([*prompt, *token_ids[:fork]])))
        if fork <= len(token_ids)
        else None
        for fork in forks
    ]


def _user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


def _assistant(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}


def _render(tokenizer: PreTrainedTokenizerBase, turns: list[dict[str, str]], **options: Any) -> str:
    """Let the chat template write a conversation, on a day that is always the same."""
    from jinja2 import TemplateError

    template = tokenizer.get_chat_template()
    if "strftime_now" in template:
        template = _DAY + template
    try:
        text = tokenizer.apply_chat_template(
            turns, chat_template=template, tokenize=False, **options
        )
    except TemplateError as error:
        raise MeasureError(f"the chat template refuses the conversation: {error}") from error
    assert isinstance(text, str)
    return text


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _plain_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """With what the tokenizer adds, but for an end: the text goes on."""
    ids = list(tokenizer(text)["input_ids"])
    return ids[:-1] if ids and ids[-1] == tokenizer.eos_token_id else ids


def _several(ids: int | Sequence[int] | None) -> list[int]:
    if ids is None:
        return []
    return [ids] if isinstance(ids, int) else list(ids)


def _brief(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
