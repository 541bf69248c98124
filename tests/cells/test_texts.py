import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoklx.cells.reading import read_cell
from isoklx.cells.texts import divided, read_texts
from tests.handmade import kl, make_cell, write


def line(alpha, prompt, tokens, text=None, **more):
    text = "".join(tokens) if text is None else text
    fields = {"kind": "eval", "alpha": alpha, "prompt_idx": prompt, "prompt": f"Q{prompt}"}
    return json.dumps({**fields, "tokens": tokens, "gen_text": text, **more})


def read(*lines, gen_len=((2, 1),)):
    content = "\n".join([*lines, ""]).encode()
    return read_texts(content, np.array([1.0]), np.array(gen_len))


def test_texts_and_tokens_are_indexed_by_dose_and_prompt():
    found, notes = read(line(1, 1, ["No"]), line(1, 0, ["Yes", " \N{GRINNING FACE}."]))
    assert found["prompt_text"].tolist() == ["Q0", "Q1"]
    assert found["gen_text"].tolist() == [["Yes \N{GRINNING FACE}.", "No"]]
    assert found["token_chars"].tolist() == [[[3, 3], [2, 0]]]
    assert notes == []


def test_a_missing_file_is_noted_once():
    found, notes = read_texts(None, np.array([1.0]), np.array([[2, 1]]))
    assert found["gen_text"].tolist() == [["", ""]]
    assert notes == ["gens.jsonl: not found; texts are missing"]


@pytest.mark.parametrize(
    ("broken", "note"),
    [
        ("{", "line 2 is not a generation: EOF"),
        ("[1]", "line 2 is not a generation: it must be an object, got"),
        ('{"kind": "other"}', "kind must be eval or qa, got 'other'"),
        (line(float("nan"), 0, []), "alpha must be a finite number, got nan"),
        (line(1, -1, []), "prompt_idx must be between 0 and 2147483647, got -1"),
        (line(1, 0, [], text=7), "gen_text must be a string, got 7"),
        (line(1, 0, [1, 2], text=""), "tokens must be a list of strings"),
        (line(1, 0, "ab", text="ab"), "tokens must be a list, got 'ab'"),
        (line(2, 0, []), "alpha 2, prompt 0 is not a rollout of this cell"),
        (line(1, 9**9, []), f"prompt {9**9} is not a rollout of this cell"),
        (line(1, 1, ["x"]), "alpha 1, prompt 1 occurs twice; the last one is used"),
        (line(1, 0, ["one"]), "tokens: alpha 1, prompt 0 has 1 tokens, but KL for 2"),
        (
            line(1, 0, ["a", "b"], text="quite another text"),
            "prompt 0 has tokens that do not match its text",
        ),
        (line(1, 0, ["a\0", "b"]), "NUL is stored as U+2400 at alpha 1, prompt 0"),
    ],
)
def test_an_invalid_line_is_noted_and_other_texts_are_read(broken, note):
    found, notes = read(line(1, 1, ["kept"]), broken)
    assert any(note in each and each.startswith("gens.jsonl: ") for each in notes), notes
    assert found["gen_text"][0, 1] in ("kept", "x")
    assert "\0" not in found["gen_text"][0, 0]


def test_a_rollout_without_text_is_noted():
    assert read(line(1, 1, ["x"]))[1] == ["gens.jsonl: no text for alpha 1, prompt 0"]


def test_a_half_written_last_line_is_noted():
    content = (line(1, 0, ["a", "b"]) + "\n" + line(1, 1, ["x"])[:20]).encode()
    _, notes = read_texts(content, np.array([1.0]), np.array([[2, 1]]))
    assert "line 2 is not a generation (half written)" in notes[0]


def test_one_long_row_among_many_does_not_exhaust_memory():
    n = 10**5
    found, notes = read(line(1, 0, ["x"] * n), gen_len=[[n] + [1] * (n - 1)])
    assert found["token_chars"].size == 0
    assert found["gen_text"][0, 0] == "x" * n
    assert "rows so uneven" in " ".join(notes)


@given(st.lists(st.text()))
def test_tokens_that_join_to_the_text_divide_it_exactly(tokens):
    assert divided("".join(tokens), tokens) == [*map(len, tokens)]


@given(st.text(), st.lists(st.text(max_size=5), max_size=8))
def test_a_text_is_divided_completely_or_not_at_all(text, tokens):
    chars = divided(text, tokens)
    assert chars is None or (sum(chars) == len(text) and len(chars) == len(tokens))
    assert chars is None or min(chars, default=0) >= 0


words = st.lists(st.text("abc", min_size=1, max_size=4), min_size=1)


@given(words)
def test_tokens_without_leading_spaces_are_matched(tokens):
    assert divided(" ".join(tokens), tokens) == [
        len(token) + (i > 0) for i, token in enumerate(tokens)
    ]


def test_a_character_of_several_tokens_belongs_to_the_last():
    assert divided("a\N{GRINNING FACE}b", ["a", "\ufffd", "\ufffd", "b"]) == [1, 0, 1, 1]


def test_texts_are_read_only_on_request(tmp_path):
    folder = make_cell(tmp_path, trajectory=kl({"1": [[1, 2]]}))
    (folder / "gens.jsonl").mkdir()
    cell = read_cell(folder)
    assert (cell.texts_hash, cell.notes, "gen_text" in cell.data) == (None, (), False)


def test_an_unreadable_gens_jsonl_only_loses_texts(tmp_path):
    folder = make_cell(tmp_path, trajectory=kl({"1": [[1, 2]]}))
    (folder / "gens.jsonl").mkdir()
    cell = read_cell(folder, texts=True)
    assert cell.notes == ("gens.jsonl: not a regular file; texts are missing",)
    assert cell.data["gen_text"].tolist() == [[""]]
    assert cell.data["kl"].tolist() == [[[1, 2]]]


def test_texts_match_doses_in_any_spelling(tmp_path):
    folder = make_cell(tmp_path, trajectory=kl({"0.3": [[1, 2]]}))
    write(folder / "gens.jsonl", line(0.1 + 0.2, 0, ["a", "b"]))
    assert read_cell(folder, texts=True).data["gen_text"].tolist() == [["ab"]]
