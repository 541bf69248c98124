"""LaTeX tables stay valid with any text."""

from __future__ import annotations

import re

import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from isoklx.tables import captioned
from isoklx.tables.latex import as_latex
from isoklx.tables.table import Table

HOSTILE = [
    *r"&%$#_{}~^\[]*|<>",
    r"\\",
    r"\end{tabular}",
    "% a",
    "a & b",
    "--",
    "[x]",
    "ä",
    "模",
    "\N{MINUS SIGN}",
]


def of_texts(texts: list[str], caption: str = "Texts.") -> Table:
    return Table(pd.DataFrame({"a_b": texts, "n": range(len(texts))}), ("a_b",), caption)


def rows(latex: str) -> list[list[str]]:
    """Split a table into cells at unescaped ampersands and line ends."""
    body = re.search(r"\\midrule\n(.*)\\bottomrule", latex, re.DOTALL)
    assert body is not None
    lines = [line for line in body[1].split("\n") if line]
    assert all(line.endswith(r"\\") for line in lines)
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)&", line.removesuffix(r"\\"))] for line in lines
    ]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("mean_diff", r"mean\_diff"),
        ("50% & $5 #1", r"50\% \& \$5 \#1"),
        ("{a}~b^c", r"\{a\}\textasciitilde{}b\^{}c"),
        (r"C:\new", r"C:\textbackslash{}new"),
        ("a < b > c | d", r"a \ensuremath{<} b \ensuremath{>} c \textbar{} d"),
        ("\N{MINUS SIGN}1 ± 2", r"\ensuremath{-}1 \ensuremath{\pm} 2"),
        (
            "\N{GREEK SMALL LETTER ALPHA} = λΩ, ≤ ∞",
            r"\ensuremath{\alpha} = \ensuremath{\lambda}\ensuremath{\Omega}, "
            r"\ensuremath{\leq} \ensuremath{\infty}",
        ),
        ("[x]", "{[}x]"),
        ("*", "{*}"),
        ("größe", "größe"),
        ("two\nlines", r"two\textbackslash{}nlines"),
    ],
)
def test_latex_commands_in_texts_are_escaped(text: str, written: str) -> None:
    latex = as_latex(of_texts([text], caption=text))
    assert rows(latex) == [[written, "0"]]
    assert f"\\caption{{{written}}}\n" in latex


@given(st.lists(st.text(st.characters()) | st.sampled_from(HOSTILE), min_size=1, max_size=4))
def test_no_text_breaks_a_table_or_leaves_a_group_open(texts: list[str]) -> None:
    latex = as_latex(of_texts(texts))
    assert [row[1:] for row in rows(latex)] == [[str(i)] for i in range(len(texts))]
    for first, _ in rows(latex):
        assert not first.startswith(("[", "*"))
        plain = re.sub(r"\\[&%$#_{}]", "", first)
        assert not set(plain) & set("&%$#_")
        depth = 0
        for char in plain:
            depth += (char == "{") - (char == "}")
            assert depth >= 0
        assert depth == 0


def test_minus_signs_and_powers_of_ten() -> None:
    frame = pd.DataFrame(
        {
            "x": [-0.148123, 1.0],
            "x_lower": [-0.19, 0.5],
            "x_upper": [-0.1, 1.5],
            "kl": [-1e-7, None],
        }
    )
    assert rows(as_latex(Table(frame, (), ""))) == [
        [
            r"\ensuremath{-}0.148",
            r"\ensuremath{-}0.190",
            r"\ensuremath{-}0.100",
            r"\ensuremath{-}1.000\ensuremath{\times10^{\ensuremath{-}7}}",
        ],
        ["1.00", "0.50", "1.50", ""],
    ]


def test_booktabs_float_with_one_alignment_per_column(real: xr.Dataset) -> None:
    for table in (captioned.headline(real), captioned.survival(real), captioned.calibration(real)):
        latex = as_latex(table)
        assert latex.startswith("% needs \\usepackage{booktabs}\n\\begin{table}\n\\centering\n")
        spec = re.search(r"\\begin\{tabular\}\{([lr]+)\}", latex)
        assert spec is not None
        assert len(spec[1]) == table.frame.shape[1]
        assert [len(row) for row in rows(latex)] == [table.frame.shape[1]] * len(table.frame)
        assert latex.endswith("\\bottomrule\n\\end{tabular}\n\\end{table}\n")


def test_a_table_without_rows_has_its_heading() -> None:
    empty = as_latex(Table(of_texts(["x"]).frame.iloc[:0], ("a_b",), "None."))
    assert "\\begin{tabular}{lr}\n" in empty
    assert rows(empty) == []
