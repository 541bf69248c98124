from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoklx.cli.parsing import canonical_words, nearest, parameters
from isoklx.errors import UsageError


def build(
    *roots: Path,
    out: Path | None = None,
    window: int | None = None,
    model_contains: str = "",
    strict: bool = False,
    alphas: tuple[float, ...] | None = None,
) -> None: ...


def figure(
    file: Path,
    kind: Literal["band", "fan"] = "band",
    methods: tuple[str, ...] = (),
    title: bool = True,
) -> None: ...


def convert(source: Path, target: Path, *, precision: int) -> None: ...


def run(*models: str, sign: Literal["+", "-"] = "+", seed: int | tuple[int, ...] = 0) -> None: ...


def refusal(command: object, line: str) -> str:
    with pytest.raises(UsageError) as error:
        canonical_words(command, line.split())  # type: ignore[arg-type]
    return str(error.value)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a", ["a"]),
        ("a b", ["a", "b"]),
        ("a --window 64", ["a", "--window=64"]),
        ("--window=64 a", ["a", "--window=64"]),
        ("--out x.nc a --window 64 b", ["a", "b", "--out=x.nc", "--window=64"]),
        ("a --model-contains Q", ["a", "--model_contains=Q"]),
        ("a --model_contains=Q=1", ["a", "--model_contains=Q=1"]),
        ("a --out=-odd.nc", ["a", "--out=-odd.nc"]),
    ],
)
def test_flags_and_positional_arguments_mix_in_any_order(line: str, words: list[str]) -> None:
    assert canonical_words(build, line.split()) == words


@pytest.mark.parametrize(
    ("switch", "value"),
    [
        ("--strict", "true"),
        ("--nostrict", "false"),
        ("--no-strict", "false"),
        ("--no_strict", "false"),
        ("--strict=false", "false"),
        ("--strict=No", "No"),
        ("--strict=1", "1"),
    ],
)
def test_a_switch_is_turned_on_and_off(switch: str, value: str) -> None:
    assert canonical_words(build, [switch, "a"]) == ["a", f"--strict={value}"]


@pytest.mark.parametrize("text", ["-1", "-1,0.5", "-.5", "-1e-3"])
def test_a_value_may_be_a_negative_number(text: str) -> None:
    assert canonical_words(build, ["a", "--alphas", text]) == ["a", f"--alphas={text}"]


def test_a_value_may_be_a_hyphen_where_that_is_a_choice() -> None:
    assert canonical_words(run, ["m", "--sign", "-"]) == ["m", "--sign=-"]
    assert refusal(run, "m --sign -x") == "--sign needs a value: + or -"


def test_union_of_one_and_several_is_a_list() -> None:
    hint = "lists are written with commas, --seed 0,1"
    assert refusal(run, "m --seed 0 1") == f"unexpected argument '1': {hint}"


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [
        ("--windw", "--window"),
        ("--Window", "--window"),
        ("--model", "--model_contains"),
        ("-out", "--out"),
        ("-o", "--out"),
        ("\u2013\u2013out", "--out"),
        ("--nostrct", "--nostrict"),
        ("--alpha=1", "--alphas"),
    ],
)
def test_a_misspelt_flag_is_refused_and_the_nearest_named(misspelt: str, meant: str) -> None:
    spelling = misspelt.partition("=")[0]
    assert refusal(build, f"a {misspelt}") == f"unknown flag {spelling}; did you mean {meant}?"


@pytest.mark.parametrize(
    "word",
    ["-", "--", "---", "-5", "--trace", "--interactive", "--completion", "--separator", "-v"],
)
def test_hyphens_alone_and_the_flags_of_fire_are_unknown(word: str) -> None:
    assert refusal(build, f"a {word}") == f"unknown flag {word}; --help lists the flags"


def test_positional_argument_may_be_written_as_a_flag() -> None:
    assert canonical_words(figure, ["--file", "a.nc"]) == ["--file=a.nc"]
    assert canonical_words(convert, ["a", "--target=b", "--precision", "3"]) == [
        "a",
        "--target=b",
        "--precision=3",
    ]


def test_positional_argument_is_given_once() -> None:
    assert refusal(figure, "a.nc --file b.nc") == "FILE is given twice, by position and as --file"


def test_variadic_argument_may_be_written_as_a_comma_separated_flag() -> None:
    assert canonical_words(build, ["--root", "a,b", "--strict"]) == ["a", "b", "--strict=true"]
    assert canonical_words(build, ["--root=a"]) == ["a"]
    assert refusal(build, "--roots x") == "unknown flag --roots; did you mean --root?"
    assert refusal(build, "a --root b") == "ROOT is given twice, by position and as --root"
    assert refusal(build, "--root a,,b") == "ROOT takes a path, not ''"
    assert refusal(build, "--root=a,-x") == "--root takes paths that do not start with a hyphen"


@pytest.mark.parametrize("word", ["--fan", "--fan=1"])
def test_choice_written_as_a_flag_gets_a_hint(word: str) -> None:
    assert refusal(figure, f"a.nc {word}") == "unknown flag --fan; did you mean --kind fan?"


@pytest.mark.parametrize(
    ("line", "flag"),
    [
        ("a --window 64 --window=64", "--window"),
        ("a --strict --nostrict", "--strict"),
        ("a --model-contains x --model_contains x", "--model_contains"),
    ],
)
def test_a_repeated_flag_is_refused(line: str, flag: str) -> None:
    assert refusal(build, line) == f"{flag} is given twice"


@pytest.mark.parametrize("line", ["a --out", "a --out --strict", "a --out -x", "a --out -"])
def test_a_flag_does_not_take_the_next_flag_for_its_value(line: str) -> None:
    assert refusal(build, line) == "--out needs a value: a path"


def test_a_negated_switch_takes_no_value() -> None:
    assert refusal(build, "a --nostrict=true") == "--nostrict takes no value"


@pytest.mark.parametrize("line", ["--strict false a", "a --strict false", "a --nostrict false"])
def test_a_switch_never_swallows_the_next_word(line: str) -> None:
    expected = "unexpected argument 'false': write --strict=false or --nostrict"
    assert refusal(build, line) == expected


@pytest.mark.parametrize("line", ["--strict a 1", "--strict=true a 1", "--strict=true 1 a"])
def test_a_switch_may_be_followed_by_arguments(line: str) -> None:
    assert set(canonical_words(build, line.split())) == {"a", "1", "--strict=true"}


@pytest.mark.parametrize("line", ["--alphas 0.5 1.0 a", "a --alphas=0.5 1.0"])
def test_second_number_of_a_list_is_not_an_argument(line: str) -> None:
    expected = "unexpected argument '1.0': lists are written with commas, --alphas 0.5,1.0"
    assert refusal(build, line) == expected


def test_a_list_may_be_followed_by_arguments() -> None:
    assert canonical_words(build, ["--alphas", "1", "a", "2"]) == ["a", "2", "--alphas=1"]


def test_a_leftover_argument_is_refused() -> None:
    assert refusal(figure, "f.nc fan") == (
        "unexpected argument 'fan': only FILE is written without a flag"
    )


def test_word_after_a_list_gets_a_hint_on_commas() -> None:
    expected = "unexpected argument 'mean': lists are written with commas, --methods pca,mean"
    assert refusal(figure, "f.nc --methods pca mean") == expected


@pytest.mark.parametrize(
    ("command", "line", "missing"),
    [
        (build, "--window 3", "ROOT"),
        (figure, "", "FILE"),
        (convert, "", "SOURCE, TARGET, --precision"),
        (convert, "a --precision 3", "TARGET"),
        (convert, "a b", "--precision"),
    ],
)
def test_missing_arguments_are_named(command: object, line: str, missing: str) -> None:
    assert refusal(command, line) == f"missing {missing}"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("f --kind violin", "--kind takes band or fan, not 'violin'"),
        ("f --kind=", "--kind takes band or fan, not ''"),
        ("f --title=perhaps", "--title takes true or false, not 'perhaps'"),
    ],
)
def test_invalid_value_error_names_the_valid_type(line: str, message: str) -> None:
    assert refusal(figure, line) == message


def test_an_empty_path_is_refused() -> None:
    with pytest.raises(UsageError, match="FILE takes a path, not ''"):
        canonical_words(figure, [""])


def test_a_parameter_with_a_default_is_a_flag_however_it_is_declared() -> None:
    assert [each.written for each in parameters(figure) if not each.flag] == ["FILE"]


def test_nearest_of_a_dissimilar_word_is_none() -> None:
    assert nearest("plot", ["report", "figure"]) is None
    assert nearest("xyz", ["build", "info"]) is None


VALID = {
    "out": ["--out", "x.nc"],
    "window": ["--window=64"],
    "model": ["--model-contains", "Q"],
    "strict": ["--strict"],
    "alphas": ["--alphas", "-1,0.5"],
    "root": ["a"],
}
FOREIGN = ["--windw", "-", "--", "-x", "--trace", "--window", "--strict=2", "", "--out=y", "--help"]


@given(st.permutations(sorted(VALID)), st.data())
def test_surplus_word_is_refused_at_any_position(order: list[str], data: st.DataObject) -> None:
    words = [word for name in order for word in VALID[name]]
    assert set(canonical_words(build, words)) == {
        "a",
        "--out=x.nc",
        "--window=64",
        "--model_contains=Q",
        "--strict=true",
        "--alphas=-1,0.5",
    }
    foreign = data.draw(st.sampled_from(FOREIGN))
    place = data.draw(st.integers(0, len(words)))
    with pytest.raises(UsageError):
        canonical_words(build, [*words[:place], foreign, *words[place:]])
