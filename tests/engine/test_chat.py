"""Token ids of prompts, answers and suffixes equal those that models were trained on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("transformers", reason="needs the extra `run`")

from isoklx.engine.chat import (
    ASK,
    PREFIX,
    answer_ids,
    answered_ids,
    context_length,
    encode_prompts,
    eos_ids,
    named_eos_ids,
    prompt_ids,
    tail_ids,
    thinking_at,
    turn_end_id,
)
from isoklx.engine.inputs import InputFile, Question
from isoklx.errors import MeasureError, UsageError
from tests.engine.tokenizers_of_characters import (
    ALWAYS,
    BEGUN,
    CHANNELS,
    CHATML,
    DATED,
    GEMMA,
    LAST_ONLY,
    LEFT_OPEN,
    LLAMA,
    MISTRAL,
    PLAIN,
    REFUSING,
    SHOUTING,
    SWITCHED,
    THOUGHTFUL,
    tokenizer_of_characters,
)

ASKED = f"<|im_end|>\n<|im_start|>user\n{ASK}<|im_end|>\n<|im_start|>assistant\n"


def test_a_chat_template_writes_the_prompt_and_opens_the_answer() -> None:
    tokenizer = tokenizer_of_characters(CHATML)
    said = tokenizer.decode(prompt_ids(tokenizer, "Is it?"))
    assert said == "<|im_start|>user\nIs it?<|im_end|>\n<|im_start|>assistant\n"


def test_the_beginning_of_sequence_token_is_not_doubled() -> None:
    tokenizer = tokenizer_of_characters(BEGUN, adds="<s> $A")
    ids = prompt_ids(tokenizer, "Is it?")
    assert ids[0] == tokenizer.bos_token_id
    assert ids.count(tokenizer.bos_token_id) == 1
    assert tokenizer.bos_token_id not in tail_ids(tokenizer)
    assert answered_ids(tokenizer, "Is it?", "Yes.").count(tokenizer.bos_token_id) == 1


def test_a_thought_opened_by_the_template_is_opened_once() -> None:
    tokenizer = tokenizer_of_characters(ALWAYS)
    said = tokenizer.decode(prompt_ids(tokenizer, "Is it?"))
    assert said.endswith("<|im_start|>assistant\n<think>\n")
    assert said.count("<think>") == 1


@pytest.mark.parametrize("adds", ["$A", "<s> $A", "<s> $A </s>"])
def test_without_a_template_the_prompt_is_two_lines_without_an_end_token(adds: str) -> None:
    tokenizer = tokenizer_of_characters(adds=adds)
    ids = prompt_ids(tokenizer, "Is it?")
    assert tokenizer.decode(ids, skip_special_tokens=True) == "User: Is it?\nAssistant:"
    assert ids.count(tokenizer.bos_token_id) == adds.count("<s>")
    assert tokenizer.eos_token_id not in ids


def test_a_prompt_does_not_depend_on_the_date() -> None:
    tokenizer = tokenizer_of_characters(DATED)
    assert tokenizer.decode(prompt_ids(tokenizer, "?")).startswith("1 January 2025 ")


@pytest.mark.parametrize(
    ("template", "after"),
    [
        (CHATML, ""),
        (BEGUN, ""),
        (SWITCHED, "<think>\n\n</think>\n\n"),
        (ALWAYS, "<think>\n\n</think>\n\n"),
    ],
)
def test_the_suffix_ends_the_turn_asks_and_starts_an_answer_without_a_thought(
    template: str, after: str
) -> None:
    tokenizer = tokenizer_of_characters(template)
    said = tokenizer.decode(tail_ids(tokenizer))
    assert said == f'{ASKED}{after}{{"choice":'


@pytest.mark.parametrize("template", [CHATML, SWITCHED, ALWAYS])
def test_prompt_answer_and_suffix_equal_the_rendered_conversation(
    template: str,
) -> None:
    tokenizer = tokenizer_of_characters(template)
    turns = [
        {"role": "user", "content": "Is it?"},
        {"role": "assistant", "content": "It is."},
        {"role": "user", "content": ASK},
    ]
    whole = tokenizer.apply_chat_template(turns, tokenize=False)
    begun = tokenizer.decode([*answered_ids(tokenizer, "Is it?", "It is."), *tail_ids(tokenizer)])
    assert begun.startswith(whole)


def test_without_a_template_the_suffix_is_the_start_of_an_answer() -> None:
    tokenizer = tokenizer_of_characters(adds="<s> $A </s>")
    assert tokenizer.decode(tail_ids(tokenizer)) == '\n{"choice":'


def test_an_answer_ends_at_its_last_content_token_or_at_the_end_of_its_turn() -> None:
    tokenizer = tokenizer_of_characters(CHATML)
    begun = tokenizer.decode(prompt_ids(tokenizer, "Is it?"))
    content = tokenizer.decode(answered_ids(tokenizer, "Is it?", " It is. "))
    closed = tokenizer.decode(answered_ids(tokenizer, "Is it?", " It is. ", closed=True))
    assert content == f"{begun}It is."
    assert closed == f"{begun}It is.<|im_end|>\n"


def test_an_answer_repeated_in_its_prompt_is_located_in_the_answer() -> None:
    tokenizer = tokenizer_of_characters(CHATML)
    assert tokenizer.decode(answered_ids(tokenizer, "Yes", "Yes")).endswith("assistant\nYes")


BEFORE = {
    CHATML: "<|im_start|>user\nIs it?<|im_end|>\n<|im_start|>assistant\n",
    LLAMA: "<s><|start_header_id|>user<|end_header_id|>\n\nIs it?<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n",
    GEMMA: "<s><start_of_turn>user\nIs it?<end_of_turn>\n<start_of_turn>model\n",
    MISTRAL: "<s>[INST] Is it? [/INST] ",
    CHANNELS: "<|start|>user<|message|>Is it?<|end|><|start|>assistant<|channel|>final<|message|>",
    PLAIN: "user: Is it?\n\nassistant: ",
}
"""Text that each template writes before an answer."""

LETTERS = ("y", "n", "T", "F", "N", "i", "s", "?", "end", "turn", "of", "final", "Answer0")
"""Answers that also occur in the templates' own text."""


@pytest.mark.parametrize("answer", LETTERS)
@pytest.mark.parametrize("template", BEFORE)
def test_the_last_token_of_an_answer_is_not_a_tag(template: str, answer: str) -> None:
    tokenizer = tokenizer_of_characters(template)
    before = tokenizer(BEFORE[template], add_special_tokens=False)["input_ids"]
    letters = [tokenizer.convert_tokens_to_ids(letter) for letter in answer]
    assert answered_ids(tokenizer, "Is it?", answer) == [*before, *letters]


def test_a_prompt_may_contain_the_marker() -> None:
    tokenizer = tokenizer_of_characters(CHATML)
    ids = answered_ids(tokenizer, "Answer0 or Answer1?", "n")
    assert ids == [
        *prompt_ids(tokenizer, "Answer0 or Answer1?"),
        tokenizer.convert_tokens_to_ids("n"),
    ]


def test_answers_without_a_template_and_plain_texts_lack_an_end_token() -> None:
    tokenizer = tokenizer_of_characters(adds="<s> $A </s>")
    answered = answered_ids(tokenizer, "Is it?", "It is.")
    assert tokenizer.decode(answered) == "<s>User: Is it?\nAssistant: It is."
    chat = tokenizer_of_characters(CHATML, adds="<s> $A </s>")
    assert chat.decode(answered_ids(chat, None, "It is.")) == "<s>It is."


def test_an_unsuitable_template_is_one_line() -> None:
    with pytest.raises(MeasureError, match="refuses the conversation: no assistants here"):
        prompt_ids(tokenizer_of_characters(REFUSING), "Is it?")
    with pytest.raises(MeasureError, match=r"changes the answer 'It is\.'"):
        answered_ids(tokenizer_of_characters(SHOUTING), "Is it?", "It is.")
    with pytest.raises(MeasureError, match="omits earlier messages of the assistant"):
        tail_ids(tokenizer_of_characters(LAST_ONLY))


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ("upper", "It is."),
        ("lower", "It is."),
        ("replace('\n\n', '\n')", "It is.\n\nIt is."),
        ("truncate(8, leeway=0)", "It is so, ever."),
    ],
)
def test_a_template_that_changes_an_answer_is_refused(change: str, answer: str) -> None:
    tokenizer = tokenizer_of_characters(
        CHATML.replace("{{ m.content }}", f"{{{{ m.content | {change} }}}}")
    )
    with pytest.raises(MeasureError, match="the chat template changes the answer 'It is"):
        answered_ids(tokenizer, "Is it?", answer)


@pytest.mark.parametrize("template", [LLAMA, GEMMA])
def test_a_template_that_strips_answers_keeps_their_last_token(template: str) -> None:
    tokenizer = tokenizer_of_characters(template)
    ids = answered_ids(tokenizer, "Is it?", "\n n \n")
    assert tokenizer.decode(ids) == f"{BEFORE[template]}n"


@pytest.mark.parametrize(
    ("template", "between"),
    [
        (
            CHANNELS,
            f"<|end|><|start|>user<|message|>{ASK}<|end|><|start|>assistant<|channel|>final",
        ),
        (THOUGHTFUL, ASKED),
        (MISTRAL, f"</s>[INST] {ASK} [/INST]"),
    ],
)
def test_the_answer_of_a_fork_starts_where_the_template_writes_content(
    template: str, between: str
) -> None:
    before_content = {
        CHANNELS: "<|message|>",
        THOUGHTFUL: "<think>\n\n</think>\n\n",
        MISTRAL: " ",
    }[template]
    tokenizer = tokenizer_of_characters(template)
    assert tokenizer.decode(tail_ids(tokenizer)) == f"{between}{before_content}{PREFIX}"


def test_a_rollout_starts_with_the_generation_prompt_and_chooses_its_channel() -> None:
    tokenizer = tokenizer_of_characters(CHANNELS)
    said = tokenizer.decode(prompt_ids(tokenizer, "Is it?"))
    assert said == "<|start|>user<|message|>Is it?<|end|><|start|>assistant"


def test_the_default_or_only_template_is_used() -> None:
    expected = prompt_ids(tokenizer_of_characters(CHATML), "Is it?")
    for templates in ({"default": CHATML, "rag": PLAIN}, {"rag": CHATML}):
        tokenizer = tokenizer_of_characters()
        tokenizer.chat_template = templates
        assert prompt_ids(tokenizer, "Is it?") == expected
    tokenizer.chat_template = {"tool_use": CHATML, "rag": CHATML}
    with pytest.raises(MeasureError) as error:
        prompt_ids(tokenizer, "Is it?")
    assert str(error.value) == (
        "chat template 'default' not found; available: rag, tool_use: save the one to use as"
        " chat_template.jinja in the model's folder"
    )


def test_an_empty_template_counts_as_none() -> None:
    tokenizer = tokenizer_of_characters("")
    assert tokenizer.decode(prompt_ids(tokenizer, "Is it?")) == "User: Is it?\nAssistant:"


def test_every_single_token_spelling_of_an_answer_counts() -> None:
    words = [
        " true",
        " false",
        "true",
        "True",
        " True",
        "TRUE",
        "▁true",
        "Ġfalse",
        "untrue",
        "false.",
    ]
    tokenizer = tokenizer_of_characters(words=words)
    ids = answer_ids(tokenizer)
    assert {*tokenizer.convert_ids_to_tokens(ids.true_ids)} == {
        *(" true", "true", "True", " True", "TRUE", "▁true")
    }
    assert {*tokenizer.convert_ids_to_tokens(ids.false_ids)} == {" false", "Ġfalse"}


def test_a_tokenizer_without_an_answer_is_refused() -> None:
    with pytest.raises(MeasureError, match="answer 'false' must have a single-token spelling"):
        answer_ids(tokenizer_of_characters(words=[" true"]))


def model_with(*, generation: object = None, text: object = None, context: object = 64) -> Any:
    config = SimpleNamespace(eos_token_id=text)
    if context is not None:
        config.max_position_embeddings = context
    return SimpleNamespace(
        generation_config=SimpleNamespace(eos_token_id=generation),
        config=SimpleNamespace(get_text_config=lambda: config),
    )


@pytest.mark.parametrize(
    ("generation", "text", "named"),
    [(None, None, {1}), (7, 8, {1, 7, 8}), ([7, 1], [8, 9], {1, 7, 8, 9})],
)
def test_every_named_end_token_ends_a_rollout(
    generation: object, text: object, named: set[int]
) -> None:
    model = model_with(generation=generation, text=text)
    assert eos_ids(model, tokenizer_of_characters()) == named


@pytest.mark.parametrize(
    ("template", "special", "end"),
    [
        (CHATML, (), "<|im_end|>"),
        (LLAMA, ("<|eot_id|>",), "<|eot_id|>"),
        (LLAMA, (), None),
        (MISTRAL, (), "</s>"),
        (MISTRAL.replace("{{ eos_token }}", " {{ eos_token }}"), (), "</s>"),
        (MISTRAL.replace("{{ eos_token }}", ". {{ eos_token }}"), (), None),
        (LEFT_OPEN, ("<|user|>",), "<|user|>"),
        (PLAIN, (), None),
        (None, (), None),
    ],
)
def test_the_end_of_turn_token_of_the_template_ends_a_rollout(
    template: str | None, special: tuple[str, ...], end: str | None
) -> None:
    tokenizer = tokenizer_of_characters(template, special=special)
    expected = None if end is None else tokenizer.convert_tokens_to_ids(end)
    assert turn_end_id(tokenizer) == expected
    model = model_with(generation=7)
    assert named_eos_ids(model, tokenizer) == {1, 7}
    assert eos_ids(model, tokenizer) == {1, 7} | ({expected} - {None})


def test_the_token_that_ends_the_last_turn_precedes_one_that_ends_each_message() -> None:
    closing = "{% if loop.last and not add_generation_prompt %}</s>{% else %}<|end|>{% endif %}"
    template = CHANNELS.replace("<|end|>", closing)
    tokenizer = tokenizer_of_characters(template, special=("<|end|>",))
    assert turn_end_id(tokenizer) == tokenizer.eos_token_id


def test_a_model_may_lack_end_tokens() -> None:
    tokenizer = tokenizer_of_characters()
    tokenizer.eos_token = None
    assert eos_ids(model_with(), tokenizer) == frozenset()


def test_a_model_without_positions_has_unlimited_context() -> None:
    assert context_length(model_with()) == 64
    assert context_length(model_with(context=None)) is None


def test_a_prompt_too_long_for_the_context_is_named_by_its_line() -> None:
    tokenizer = tokenizer_of_characters()
    read = InputFile(Path("asked.jsonl"), ("a", "ab"), (1, 4), "")
    assert [len(ids) for ids in encode_prompts(tokenizer, read, context=40, window=20)] == [18, 19]
    with pytest.raises(UsageError) as error:
        encode_prompts(tokenizer, read, context=40, window=20, tail=2)
    assert str(error.value) == (
        "asked.jsonl: line 4: prompt (19 tokens), window (20) and fork suffix (2) must fit into"
        " the model's context of 40, got 41"
    )
    encode_prompts(tokenizer, read, context=None, window=10**6)


def test_questions_are_encoded_like_prompts() -> None:
    tokenizer = tokenizer_of_characters(CHATML)
    read = InputFile(Path("q.jsonl"), (Question("Is it?", answer=True),), (1,), "")
    [ids] = encode_prompts(tokenizer, read, context=None, window=1)
    assert ids == prompt_ids(tokenizer, "Is it?")


def test_a_fork_within_a_thought_is_detected_wherever_the_thought_started() -> None:
    tokenizer = tokenizer_of_characters(ALWAYS)
    said = tokenizer("Hm.</think>Yes", add_special_tokens=False)["input_ids"]
    forks = [0, 3, 4, 7, 8]
    assert thinking_at(tokenizer, [said], forks) == [[True, True, False, False, None]]
    plain = tokenizer_of_characters(CHATML)
    assert thinking_at(plain, [said, said[:2]], [0, 3]) == [[False, False], [False, None]]
    begun = plain("Hm.<think>Yes", add_special_tokens=False)["input_ids"]
    assert thinking_at(plain, [begun], [3, 4]) == [[False, True]]


def test_a_thought_tag_in_the_users_text_is_ignored() -> None:
    tokenizer = tokenizer_of_characters(CHATML.replace("{% for", "Say <think> first.{% for"))
    assert thinking_at(tokenizer, [[9, 9]], [0, 2]) == [[False, False]]
    assert thinking_at(tokenizer_of_characters(), [[9, 9]], [0, 2]) == [[False, False]]
