"""Files of pairs, prompts and questions: valid content, and errors with their line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoklx.engine.inputs import (
    CALIB_PROMPTS,
    Pair,
    Question,
    read_pairs,
    read_prompts,
    read_questions,
)
from isoklx.errors import UsageError

TEXTS = st.text(min_size=1, max_size=40).filter(str.strip)


def written(folder: Path, content: str | bytes, name: str = "input.jsonl") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_pairs_of_answers_and_of_plain_texts_are_read_in_order(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        '{"prompt": "Is it?", "positive": "Yes.", "negative": "No."}\n\n'
        '{"positive": "so", "negative": "not so"}\n',
    )
    read = read_pairs(path)
    assert read.rows == (Pair("Is it?", "Yes.", "No."), Pair(None, "so", "not so"))
    assert read.lines == (1, 3)


def test_a_file_is_hashed_by_its_bytes(tmp_path: Path) -> None:
    path = written(tmp_path, '{"prompt": "a"}\r\n')
    assert read_prompts(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_prompts_are_read_from_json_lines_and_from_text(tmp_path: Path) -> None:
    text = written(tmp_path, "one\n\n  two \r\n", "prompts.txt")
    assert read_prompts(text).rows == ("one", "two")
    lines = '{"prompt": "one"}\n{"prompt": "two", "topic": "b"}\n'
    assert read_prompts(written(tmp_path, lines)).rows == ("one", "two")
    assert read_prompts(written(tmp_path, lines, "called.txt")).rows == ("one", "two")


def test_a_byte_order_mark_is_stripped(tmp_path: Path) -> None:
    assert read_prompts(written(tmp_path, "\ufeffone\n", "prompts.txt")).rows == ("one",)


@given(prompts=st.lists(TEXTS, min_size=1, max_size=5, unique=True))
def test_any_prompt_survives_a_round_trip_as_json(
    prompts: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    lines = "".join(json.dumps({"prompt": text}, ensure_ascii=False) + "\n" for text in prompts)
    path = written(tmp_path_factory.mktemp("any"), lines)
    assert read_prompts(path).rows == tuple(prompts)


def test_questions_are_read_and_may_be_empty(tmp_path: Path) -> None:
    path = written(tmp_path, '{"prompt": "Is it?", "answer": false}\n')
    assert read_questions(path).rows == (Question("Is it?", answer=False),)
    assert read_questions(written(tmp_path, "")).rows == ()


@pytest.mark.parametrize(
    ("read", "content", "said"),
    [
        (read_pairs, "", "must contain pairs, got an empty file"),
        (read_pairs, "\n \n", "must contain pairs, got an empty file"),
        (read_prompts, "", "must contain prompts, got an empty file"),
        (read_pairs, '{"positive": "a"}', "line 1: lacks 'negative'; found: 'positive'"),
        (read_pairs, "{}", "line 1: lacks 'positive'; found: an empty object"),
        (read_pairs, '{"positive": "a", "negative": ""}', "line 1: 'negative' must not be empty"),
        (
            read_pairs,
            '{"positive": "a", "negative": null}',
            "line 1: 'negative' must be text, got None",
        ),
        (
            read_pairs,
            '{"positive": "a", "negative": "a "}',
            "line 1: 'positive' and 'negative' must differ, got the same text twice",
        ),
        (
            read_pairs,
            '{"promt": "q", "positive": "a", "negative": "b"}',
            "line 1: lacks 'prompt' but has 'promt': rename or remove that key",
        ),
        (
            read_pairs,
            '{"positive": "a", "negative": "b"}\n["a", "b"]',
            "line 2: must be a JSON object, got ['a', 'b']",
        ),
        (read_prompts, '{"prompt": "a"}\nb', "line 2: is not JSON: expected value at column 1"),
        (read_prompts, '{"prompt": "a"', "line 1: is not JSON: EOF while parsing an object"),
        (read_prompts, '{"text": "a"}', "line 1: lacks 'prompt'; found: 'text'"),
        (read_prompts, '{"prompt": ["a"]}', "line 1: 'prompt' must be text, got ['a']"),
        (read_prompts, '{"prompt": "a", "prompt": "b"}', "line 1: is not JSON: Detected duplicate"),
        (read_prompts, '{"prompt": "a"}\n\n{"prompt": "a"}', "line 3: repeats line 1"),
        (read_prompts, b'{"prompt": "a"}\n\xff', "line 2: is not UTF-8 text: invalid start byte"),
        (read_questions, '{"prompt": "a"}', "line 1: lacks 'answer'; found: 'prompt'"),
        (
            read_questions,
            '{"prompt": "a", "answer": "yes"}',
            "line 1: 'answer' must be true or false, got 'yes'",
        ),
        (
            read_questions,
            '{"prompt": "a", "answer": 1}',
            "line 1: 'answer' must be true or false, got 1",
        ),
        (
            read_questions,
            '{"prompt": "a", "answer": true}\n{"prompt": "a", "answer": false}',
            "line 2: repeats line 1",
        ),
    ],
)
def test_an_invalid_line_is_reported_with_its_number(
    tmp_path: Path, read: Callable[[Path], object], content: str | bytes, said: str
) -> None:
    path = written(tmp_path, content)
    with pytest.raises(UsageError) as error:
        read(path)
    assert str(error.value).startswith(f"{path}: {said}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["absent.jsonl", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"pairs cannot be read: (No such file|Is a directory)"):
        read_pairs(tmp_path / name)


def test_a_long_invalid_value_is_shortened(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        read_prompts(written(tmp_path, json.dumps({"prompt": ["a" * 5000]})))
    assert len(str(error.value).removeprefix(str(tmp_path))) < 150


def test_the_default_sets_are_distinct_and_disjoint() -> None:
    pairs, questions = read_pairs().rows, read_questions().rows
    every = [
        *(pair.prompt for pair in pairs),
        *read_prompts().rows,
        *read_prompts(CALIB_PROMPTS).rows,
        *(question.prompt for question in questions),
    ]
    assert len(set(every)) == len(every)
    assert sum(question.answer for question in questions) * 2 == len(questions)
    answers = [side for pair in pairs for side in (pair.positive, pair.negative)]
    assert len(set(answers)) == len(answers)
    assert {answer[-1] for answer in answers} == {"."}
