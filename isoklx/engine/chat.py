"""From texts to token ids: prompts, answers, and the tail that asks for a verdict at a fork.

A model with a chat template has its conversations written by the template, and tokenised once with
nothing added: a template writes the special tokens itself. A model without one reads
``User: ...`` and ``Assistant:`` lines, with whatever its tokenizer adds to a text.
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
    """All single-token spellings of the two answers.

    Parameters
    ----------
    true_ids, false_ids : tuple of int
        Token ids, sorted; at least one of each, and none in both.

    Raises
    ------
    MeasureError
        If an answer has no spelling, or a token counts as both.

    Examples
    --------
    >>> AnswerIds(true_ids=(7, 3), false_ids=(5,))
    AnswerIds(true_ids=(3, 7), false_ids=(5,))
    """

    true_ids: tuple[int, ...]
    false_ids: tuple[int, ...]

    def __post_init__(self) -> None:
        for name, ids in (("true", self.true_ids), ("false", self.false_ids)):
            if not ids:
                raise MeasureError(f"no single token spells the answer {name!r}")
            object.__setattr__(self, f"{name}_ids", tuple(sorted(set(ids))))
        both = sorted(set(self.true_ids) & set(self.false_ids))
        if both:
            raise MeasureError(f"token {both[0]} counts as true and as false")


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


def prompt_ids(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """Token ids of a prompt, up to where the assistant begins to speak.

    That is the template's generation prompt: a thought or a channel that it leaves to the model is
    part of the rollout.

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
    if chat_template(tokenizer) is None:
        return _plain_ids(tokenizer, f"User: {prompt}\nAssistant:")
    return _ids(tokenizer, render(tokenizer, [("user", prompt)], add_generation_prompt=True))


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
    if chat_template(tokenizer) is None:
        return _plain_ids(tokenizer, f"User: {prompt}\nAssistant: {content}")
    text = render(tokenizer, [("user", prompt), ("assistant", content)])
    around = pieces(tokenizer, [("user", prompt), ("assistant", None)])
    if len(around) != 2 or text != content.join(around):
        raise MeasureError(f"the chat template changes the answer {_brief(content)}")
    return _ids(tokenizer, text if closed else around[0] + content)


def tail_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Token ids that ask for a verdict, wherever a rollout has got to.

    By a chat template: the end of the assistant's turn, a turn of the user that asks, and the
    beginning of an answer where the template writes an assistant's content. Where its generation
    prompt differs from that by a thought alone, thinking is switched off, or the thought closed.
    Without a template the beginning of an answer alone, on a new line.

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
    if chat_template(tokenizer) is None:
        return _ids(tokenizer, f"\n{PREFIX}")
    turns: list[Turn] = [("user", "?"), ("assistant", None), ("user", ASK)]
    generated = pieces(tokenizer, turns, add_generation_prompt=True, enable_thinking=False)
    written = pieces(tokenizer, [*turns, ("assistant", None)], enable_thinking=False)
    if len(generated) != 2 or len(written) != 3:
        raise MeasureError("the chat template leaves out what the assistant has said before")
    return _ids(tokenizer, f"{_answer_begins(generated[1], written[1])}{PREFIX}")


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
    """Return the tokens that end a rollout: those that are named, and the end of a turn.

    Parameters
    ----------
    model, tokenizer
        As in :func:`named_eos_ids` and :func:`turn_end_id`.

    Returns
    -------
    frozenset of int
        Empty if nothing ends a rollout but its window.

    Raises
    ------
    MeasureError
        If the template refuses the conversation.
    """
    turn_end = turn_end_id(tokenizer)
    return named_eos_ids(model, tokenizer) | (set() if turn_end is None else {turn_end})


def turn_end_id(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Return the special token by which the chat template ends an assistant's turn.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerBase
        Its template may leave the last turn open; then the token that begins the next turn counts.

    Returns
    -------
    int or None
        The token that follows the content, with nothing but space between them; None if it is not
        a special token, or there is no template.

    Raises
    ------
    MeasureError
        If the template refuses the conversation.
    """
    if chat_template(tokenizer) is None:
        return None
    turns: list[Turn] = [("user", "?"), ("assistant", None)]
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
    """Return the tokens that a model's configuration and its tokenizer name as the end of a text.

    Parameters
    ----------
    model : PreTrainedModel
        Its generation configuration names one, several or none.
    tokenizer : PreTrainedTokenizerBase
        Names one or none.

    Returns
    -------
    frozenset of int
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
    token_ids: Sequence[Sequence[int]],
    forks: Sequence[int],
) -> list[list[bool | None]]:
    """Tell whether rollouts were within a thought at their forks.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerBase
        Its chat template may open the thought; what the user says opens none.
    token_ids : list of list of int
        Generated tokens of each rollout.
    forks : list of int
        Numbers of generated tokens.

    Returns
    -------
    list of list of bool or None
        One per rollout and fork; None past the rollout's end.
    """
    opening = ""
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


def _answer_begins(generated: str, written: str) -> str:
    """The text up to an assistant's content: as written, or as generated with a closed thought."""
    if generated.startswith(written) and OPEN in generated[len(written) :]:
        # A template that always opens a thought has it closed here, as others close it themselves.
        return f"{generated}\n{CLOSE}\n\n" if is_thinking(generated) else generated
    return written


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
