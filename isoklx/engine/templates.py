"""Conversations as a model's chat template writes them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from isoklx.errors import MeasureError

Turn = tuple[str, str | None]
"""Role and content of a message; content None marks an open message."""

_FIXED_DATE = "{% macro strftime_now(format) %}1 January 2025{% endmacro %}"


def chat_template(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """Return a tokenizer's chat template: its only one, or the one named default; or None."""
    templates = tokenizer.chat_template
    if not isinstance(templates, dict):
        return templates or None
    if "default" not in templates and len(templates) > 1:
        raise MeasureError(
            f"chat template 'default' not found; available: {', '.join(sorted(templates))}:"
            " save the one to use as chat_template.jinja in the model's folder"
        )
    return next((templates[name] for name in ("default", *templates) if name in templates), None)


def render(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Turn], **options: Any) -> str:
    """Let the chat template write a conversation, with a fixed date."""
    from jinja2 import TemplateError

    template = chat_template(tokenizer) or ""
    if "strftime_now" in template:
        template = _FIXED_DATE + template
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
    """Split the rendered conversation at its open messages (those with content None)."""
    # The result has other than one more piece than open messages if the template omits, changes
    # or repeats one. The marker must not occur in the template or in a message.
    taken = "".join([chat_template(tokenizer) or "", *(said or "" for _, said in turns)])
    marks = (f"Answer{number}" for number in itertools.count())
    mark = next(each for each in marks if each not in taken)
    filled = [(role, mark if said is None else said) for role, said in turns]
    return render(tokenizer, filled, **options).split(mark)
