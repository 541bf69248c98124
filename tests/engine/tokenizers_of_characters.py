"""Tokenizers whose tokens are characters, with the chat templates that models come with."""

from __future__ import annotations

import string
from collections.abc import Iterable

from tokenizers import AddedToken, Tokenizer, decoders, models
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""As SmolLM2 and Qwen2.5 write a conversation."""

SWITCHED = CHATML.replace(
    "assistant\n{% endif %}",
    "assistant\n{% if enable_thinking is defined and not enable_thinking %}"
    "<think>\n\n</think>\n\n{% endif %}{% endif %}",
)
"""Thinking is left to the model, and can be switched off, as in Qwen3."""

ALWAYS = CHATML.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")
"""A thought is opened whatever is asked for, as in R1."""

BEGUN = "{{ bos_token }}" + CHATML
"""The template writes the token that begins a text, as in Llama and Gemma."""

DATED = "{{ strftime_now('%d %b %Y') }} " + CHATML
"""The day stands in the prompt, as in Llama 3.2."""

SHOUTING = CHATML.replace("{{ m.content }}", "{{ m.content | upper }}")
LAST_ONLY = CHATML.replace("in messages %}", "in messages[-1:] %}")
REFUSING = "{{ raise_exception('no assistants here') }}"

LLAMA = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)

GEMMA = (
    "{{ bos_token }}{% for m in messages %}<start_of_turn>"
    "{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)

MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% else %} {{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"
)
"""Nothing is added for an answer, and a space stands before it."""

CHANNELS = (
    "{% for m in messages %}<|start|>{{ m.role }}{% if m.role == 'assistant' %}<|channel|>final"
    "{% endif %}<|message|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)
"""The model chooses its channel, and its content stands in the last, as in gpt-oss."""

THOUGHTFUL = CHATML.replace(
    "{{ m.content }}",
    "{% if m.role == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}{{ m.content }}",
)
"""The last answer stands behind an empty thought that no generation prompt opens."""

LEFT_OPEN = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
"""A turn ends where the next begins, as in GLM."""

PLAIN = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n\n{% endfor %}"
"""Without a special token."""

SPECIAL = ("<s>", "</s>", "<|im_start|>", "<|im_end|>", "<think>", "</think>")


def tokenizer_of_characters(
    template: str | None = None,
    words: Iterable[str] = (" true", " false"),
    *,
    adds: str = "$A",
    characters: str = string.printable,
    special: Iterable[str] = (),
) -> PreTrainedTokenizerFast:
    """A tokenizer that adds to a text what `adds` says: ``<s> $A </s>`` begins and ends it."""
    vocabulary = {token: number for number, token in enumerate([*SPECIAL, *sorted(characters)])}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<s>"))
    made.decoder = decoders.Fuse()
    made.add_special_tokens([*SPECIAL, *special])
    made.add_tokens([AddedToken(word, normalized=False) for word in words])
    made.post_processor = TemplateProcessing(
        single=adds, special_tokens=[(token, vocabulary[token]) for token in ("<s>", "</s>")]
    )
    made = PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>")
    made.chat_template = template
    return made
