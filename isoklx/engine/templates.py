"""Conversations as a model's chat template writes them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from isoklx.errors import MeasureError

Turn = tuple[str, str | None]
"""Role and content of a message; the content of an open message is None."""

_DAY = "{% macro strftime_now(format) %}1 January 2025{% endmacro %}"


def chat_template(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """Return the chat template that writes a tokenizer's conversations, None if it has none.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerBase
        May have several templates, by name.

    Returns
    -------
    str or None
        Of several the one called "default", and a single one whatever its name is.

    Raises
    ------
    MeasureError
        If none of several templates is called "default".
    """
    templates = tokenizer.chat_template
    if not isinstance(templates, dict):
        return templates or None
    if "default" not in templates and len(templates) > 1:
        raise MeasureError(
            f"the tokenizer has the chat templates {', '.join(sorted(templates))} and no default:"
            " save the one to use as chat_template.jinja in the model's folder"
        )
    return next((templates[name] for name in ("default", *templates) if name in templates), None)


def render(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Turn], **options: Any) -> str:
    """Let the chat template write a conversation, on a day that is always the same.

    Parameters
    ----------
    tokenizer, turns, **options
        As in :func:`pieces`; no content is None.

    Returns
    -------
    str

    Raises
    ------
    MeasureError
        If the template refuses the conversation.
    """
    from jinja2 import TemplateError

    template = chat_template(tokenizer) or ""
    if "strftime_now" in template:
        template = _DAY + template
    messages = [{"role": role, "content": said or ""} for role, said in turns]
    try:
        text = tokenizer.apply_chat_template(
            messages, chat_template=template, tokenize=False, **options
        )
    except TemplateError as error:
        raise MeasureError(f"the chat template refuses the conversation: {error}") from error
    assert isinstance(text, str)
    return text


def pieces(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Turn], **options: Any) -> list[str]:
    """Split the conversation at its open messages, by a marker that occurs nowhere else.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerBase
        Its chat template writes the conversation.
    turns : list of tuple
        Roles and contents; None where the content is left open.
    **options
        Variables of the template.

    Returns
    -------
    list of str
        The text before, between and after the open messages; fewer or more texts than that if the
        template leaves out, changes or repeats a message.

    Raises
    ------
    MeasureError
        If the template refuses the conversation.
    """
    taken = "".join([chat_template(tokenizer) or "", *(said or "" for _, said in turns)])
    marks = (f"Answer{number}" for number in itertools.count())
    mark = next(each for each in marks if each not in taken)
    filled = [(role, mark if said is None else said) for role, said in turns]
    return render(tokenizer, filled, **options).split(mark)
