from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoklx.cli.value_types import value_type


def accepts(annotation: Any, text: str) -> bool:
    try:
        value_type(annotation).read(text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (str, "64", "64"),
        (str, "None", "None"),
        (str, "[1, 2]", "[1, 2]"),
        (int, "64", 64),
        (int, "-3", -3),
        (int, "007", 7),
        (float, "64", 64.0),
        (float, "-.5", -0.5),
        (float, "1e-3", 0.001),
        (bool, "TRUE", True),
        (bool, "no", False),
        (bool, "0", False),
        (Path, "a b/c", Path("a b/c")),
        (Literal["band", "fan"], "fan", "fan"),
        (Literal[1, 2], "2", 2),
        (tuple[float, ...], "0.5,1", (0.5, 1.0)),
        (tuple[float, ...], "-1, 0.5", (-1.0, 0.5)),
        (tuple[float, ...], "1", (1.0,)),
        (tuple[str, ...], "pca,mean", ("pca", "mean")),
        (int | None, "5", 5),
        (float | Literal["auto"], "auto", "auto"),
        (float | Literal["auto"], "2", 2.0),
        (tuple[int, ...] | None, "1,2", (1, 2)),
    ],
)
def test_text_becomes_a_value_of_exactly_its_type(
    annotation: Any, text: str, value: object
) -> None:
    read = value_type(annotation).read(text)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (str, ""),
        *((int, text) for text in ("", "64.0", "6_4", " 64", "1e3", "٣", "0x10", "1" * 19, "1\n")),
        *((float, text) for text in ("", "nan", "inf", "-inf", "1e999", "1_0", "1,5", ".", "1\n")),
        *((bool, text) for text in ("", "maybe", "2", "tru")),
        *((Path, text) for text in ("", "-", "a\0b")),
        *((Literal["band", "fan"], text) for text in ("", "Band", "ban")),
        *((tuple[float, ...], text) for text in ("", "1,", ",1", "1,,2", "1;2", "1 2", "1,nan")),
        (tuple[str, ...], "a,"),
        (int | None, "None"),
        (float | Literal["auto"], "nan"),
    ],
)
def test_invalid_text_is_refused(annotation: Any, text: str) -> None:
    assert not accepts(annotation, text)


@pytest.mark.parametrize(
    ("annotation", "metavar", "meaning"),
    [
        (int | None, "INT", "a whole number"),
        (Literal["a", "b", "c"], "a|b|c", "a, b or c"),
        (float | Literal["auto"], "NUMBER|auto", "a finite number or auto"),
        (tuple[Path, ...], "PATH,...", "a path, or several separated by commas"),
    ],
)
def test_type_has_a_metavar_and_meaning(annotation: Any, metavar: str, meaning: str) -> None:
    assert value_type(annotation).metavar == metavar
    assert value_type(annotation).meaning == meaning


@pytest.mark.parametrize(
    ("annotation", "choices"),
    [
        (Literal["a", "b"], ("a", "b")),
        (tuple[Literal["a", "b"], ...], ("a", "b")),
        (Literal["a", "b"] | tuple[Literal["a", "b"], ...], ("a", "b")),
        (float | Literal["auto"], ("auto",)),
        (tuple[int, ...] | None, ()),
    ],
)
def test_choices_of_a_type_are_known(annotation: Any, choices: tuple[str, ...]) -> None:
    assert value_type(annotation).choices == choices


@pytest.mark.parametrize("annotation", [dict, list[int], tuple[int, int], None, "int"])
def test_unsupported_annotation_is_a_type_error(annotation: Any) -> None:
    with pytest.raises(TypeError, match="cannot be annotated"):
        value_type(annotation)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_number_survives_being_written(number: float) -> None:
    assert value_type(float).read(repr(number)) == number


@given(st.text(alphabet="0123456789.,+-eE_naif ", max_size=12))
def test_numbers_are_read_as_in_python_and_finite(text: str) -> None:
    if accepts(float, text):
        assert value_type(float).read(text) == float(text)
        assert math.isfinite(float(text))
