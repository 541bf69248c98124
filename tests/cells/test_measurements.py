import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from isoklx.cells import parsing as m

values = st.one_of(st.none(), st.floats(allow_infinity=False), st.integers(-(10**9), 10**9))


@given(st.lists(st.lists(values, max_size=6), max_size=5), st.integers(0, 6))
def test_padded_rows_agree_with_a_plain_loop(rows, length):
    out = m.padded_rows(rows, "x", length, cut=True)
    assert out.shape == (len(rows), max((min(len(row), length) for row in rows), default=0))
    for i, row in enumerate(rows):
        for j in range(out.shape[1]):
            value = row[j] if j < len(row) and row[j] is not None else float("nan")
            np.testing.assert_array_equal(out[i, j], value)


@given(arrays("float32", 20, elements=st.floats(width=32, allow_infinity=False)))
def test_float32_values_are_stored_without_loss(values):
    exact = values.astype("float64")
    assert not m.lossy(exact, m.cast(exact, "float32")).any()


@pytest.mark.parametrize("value", [1e39, -1e39, 1e-50, 1.17e-42])
def test_a_relative_error_above_a_millionth_is_lossy(value):
    exact = np.array([value])
    assert m.lossy(exact, m.cast(exact, "float32")).all()
    assert not m.lossy(exact, m.cast(exact, "float64")).any()


@pytest.mark.parametrize("spelling", ["1", "1.0", "+1", "1e0", "1.", "10e-1"])
def test_alphas_have_several_spellings(spelling):
    assert m.alpha_of(spelling, "key") == 1.0


@pytest.mark.parametrize(
    "spelling", ["", " 1", "1_0", "0x1", "nan", "inf", "1e999", "one", "\u0661"]
)
def test_an_alpha_must_be_a_plain_finite_number(spelling):
    with pytest.raises(ValueError, match="must be a finite number"):
        m.alpha_of(spelling, "key")


def test_minus_zero_becomes_zero():
    assert str(m.alpha_of("-0.0", "key")) == "0.0"


def test_rows_that_need_too_much_padding_are_refused(monkeypatch):
    monkeypatch.setattr(m, "PADDED", 100)
    rows = [[0.5] * 65] + [[]] * 63
    assert m.padded_rows(rows, "x", 99).shape == (64, 65)
    with pytest.raises(ValueError, match=r"x has 65 values in rows so uneven .* 65 x 65"):
        m.padded_rows([*rows, []], "x", 99)


def test_integers_too_long_to_print_are_described():
    with pytest.raises(
        ValueError, match=r"x must be between .*, got a whole number of thousands of digits"
    ):
        m.whole(10**5000, "x")


@pytest.mark.parametrize("value", ["", " ", None, 3, ["a"], "a\nb", "a\0b", "\x1b[2J", "\udcff"])
def test_text_must_be_one_nonempty_line(value):
    with pytest.raises(ValueError, match="x must be "):
        m.text(value, "x")


@pytest.mark.parametrize("value", ["a b", "größe", "👩\u200d🔬", "=1+1", "m" * 300])
def test_text_may_contain_any_letters(value):
    assert m.text(value, "x") == value
