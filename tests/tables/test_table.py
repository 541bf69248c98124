from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from isoklx.stats.survival import survival_summary
from isoklx.tables.calibration import calibration_table
from isoklx.tables.headline import HEADLINE_KEYS, headline_table
from isoklx.tables.table import Table, as_csv, as_json, as_markdown, as_text

NAN = float("nan")

TABLE = Table(
    pd.DataFrame(
        {
            "method": ["pca", "mean_diff"],
            "alpha": [0.123456789, 1.0],
            "c_mean": [1.23456789, -20000.4],
            "c_std": [NAN, 0.0],
            "half_life_by": [16384.0, NAN],
            "n_seeds": [1, 2],
            "converged": pd.array([True, pd.NA], dtype="boolean"),
        }
    ),
    ("method", "alpha"),
    "Two cells.",
)

HOSTILE = ["a|b", "`x`", "=1+1", "@SUM(A1)", "-1", "+1", "two\nlines", "\x1b[2J", "\t=1", "", "7"]


def of_texts(texts: list[str]) -> Table:
    frame = pd.DataFrame({"method": texts, "n": range(len(texts))})
    return Table(frame, ("method",), "Texts.")


def read_csv(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


def cells(markdown: str) -> list[list[str]]:
    """Split a Markdown table into cells at unescaped bars."""
    rows = markdown.rstrip("\n").split("\n")[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def test_csv_of_the_headline_table_equals_the_oracle_except_for_duplicates(
    real: xr.Dataset, oracle: Path
) -> None:
    table = Table(headline_table(real), HEADLINE_KEYS, "")
    older = (oracle / "table.csv").read_bytes().decode()
    # Three copies of one run are one calibration without standard deviation.
    expected = older.replace(",0.0,3,0.0\r\n", ",,3,,1\r\n")
    assert expected.count(",,3,,1") == 3
    assert as_csv(table) == expected.replace("c_cv\r\n", "c_cv,n_distinct\r\n")


def test_csv_has_all_digits_and_empty_missing_values() -> None:
    assert read_csv(as_csv(TABLE))[1:] == [
        ["pca", "0.123456789", "1.23456789", "", "16384.0", "1", "True"],
        ["mean_diff", "1.0", "-20000.4", "0.0", "", "2", ""],
    ]


@given(st.lists(st.text(st.characters()) | st.sampled_from(HOSTILE), min_size=1, max_size=4))
def test_texts_cannot_be_formulas_in_csv_or_break_its_rows(texts: list[str]) -> None:
    text = as_csv(of_texts(texts))
    _, *rows = read_csv(text)
    assert [row[1:] for row in rows] == [[str(i)] for i in range(len(texts))]
    assert not any(row[0].lstrip().startswith(("=", "+", "-", "@")) for row in rows)
    assert text.replace("\r\n", "").isprintable()


@given(st.lists(st.text(st.characters()) | st.sampled_from(HOSTILE), min_size=1, max_size=4))
def test_texts_cannot_break_a_markdown_table(texts: list[str]) -> None:
    rows = cells(as_markdown(of_texts(texts)))
    assert len(rows) == 2 + len(texts)
    assert [row[1:] for row in rows[2:]] == [[str(i)] for i in range(len(texts))]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("directional_ablation", "directional_ablation"),
        ("_x_", r"\_x\_"),
        ("a__b", r"a\_\_b"),
        ("`a|b`", r"\`a\|b\`"),
        ("<b>*x*</b>", r"\<b\>\*x\*\</b\>"),
        ("$x$ [l](u)", r"\$x\$ \[l\](u)"),
        ("a\\|b", r"a\\\|b"),
        ("two\nlines", r"two\\nlines"),
        ("1e3", "1e3"),
        ("größe 模型", "größe 模型"),
    ],
)
def test_markup_is_escaped_in_markdown_and_ordinary_names_are_not(text: str, written: str) -> None:
    assert f"| {written} " in as_markdown(of_texts([text]))


def test_markdown_is_rounded_and_has_the_caption() -> None:
    markdown = as_markdown(TABLE)
    assert markdown.startswith("Two cells.\n\n| method")
    assert cells(markdown)[2:] == [
        ["pca", "0.123456789", "1.235", "", "16384", "1", "yes"],
        ["mean_diff", "1", "-20000", "0", "", "2", ""],
    ]


def test_json_is_strict_with_full_precision() -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    frame = TABLE.frame.assign(c_std=[float("inf"), 1 / 3], text=["é\x1b\udcff", "<"])
    text = as_json(Table(frame, TABLE.keys, ""))
    assert text.isascii()
    rows = json.loads(text, parse_constant=refuse)
    assert [list(row) for row in rows] == [list(frame.columns)] * 2
    assert [list(row.values()) for row in rows] == [
        ["pca", 0.123456789, 1.23456789, None, 16384.0, 1, True, "é\x1b\udcff"],
        ["mean_diff", 1.0, -20000.4, 1 / 3, None, 2, None, "<"],
    ]


def test_text_shows_every_column_and_rounds_all_but_keys() -> None:
    assert as_text(TABLE, 80).splitlines() == [
        "Two cells.",
        "",
        "                                          half",
        "method           alpha  c mean  c std  life by  n seeds  converged",
        "---------  -----------  ------  -----  -------  -------  ---------",
        "pca        0.123456789   1.235      -    16384        1        yes",
        "mean_diff            1  -20000      0        -        2          -",
    ]


@pytest.mark.parametrize("width", [10, 40, 60, 100, 400])
def test_a_narrow_terminal_gets_all_columns_in_blocks_that_fit(
    real: xr.Dataset, width: int
) -> None:
    table = Table(calibration_table(real), ("run_id",), "Nine cells.")
    text = as_text(table, width)
    blocks = text.split("\n\n")[1:]
    longest_key = table.frame["run_id"].str.len().max()  # and so the longest of `repeats`
    assert max(map(len, text.splitlines())) <= max(width, 2 * longest_key + 2)
    others = 0
    for block in blocks:
        rule, first = block.splitlines()[-10:-8]
        assert first.startswith(table.frame["run_id"][0])
        others += len(rule.split()) - 1
    assert others == table.frame.shape[1] - 1
    assert len(blocks) == 1 or width < 400


def test_the_other_tables_have_all_formats(real: xr.Dataset) -> None:
    frame = survival_summary(real, threshold=[0.75, 0.95], by=["method"])
    table = Table(frame, ("threshold", "method", "alpha"), "Survival.")
    assert len(read_csv(as_csv(table))) == 1 + len(frame)
    assert len(cells(as_markdown(table))) == 2 + len(frame)
    assert len(json.loads(as_json(table))) == len(frame)


def test_a_table_without_rows_has_its_heading() -> None:
    empty = Table(TABLE.frame.iloc[:0], TABLE.keys, "None.")
    assert read_csv(as_csv(empty)) == [list(TABLE.frame.columns)]
    assert len(cells(as_markdown(empty))) == 2
    assert json.loads(as_json(empty)) == []
    assert as_text(empty, 80).startswith("None.\n\n")


def test_control_characters_in_names_are_escaped() -> None:
    text = as_text(of_texts(["\x1b[2J", "two\nlines"]), 80)
    assert r"\x1b[2J" in text
    assert text.replace("\n", "").isprintable()
    assert len(text.splitlines()) == 6


def test_minus_zero_is_zero_and_tiny_values_are_not() -> None:
    table = Table(pd.DataFrame({"kl": [-0.0, 1.25e-7, -1e-7, 0.5]}), (), "KL.")
    shown = [line.strip() for line in as_text(table, 80).splitlines()[4:]]
    assert shown == ["0", "1.250e-07", "-1.000e-07", "0.5000"]


INTERVALS = Table(
    pd.DataFrame(
        {
            "alpha": [0.123456, 1.0, 2.0, 4.0, 8.0],
            "effect": [-0.148123, 0.0201, 482.345, 1.0, -0.0001],
            "effect_lower": [-0.187345, -0.1234, 310.2, 1.0, -0.03],
            "effect_upper": [-0.109456, 0.1634, 600.7, 1.0, 0.02],
            "kl_max": [1.23456] * 5,
        }
    ),
    ("alpha",),
    "Effects.",
)


def test_a_number_and_its_bounds_are_rounded_to_two_digits_of_half_the_interval() -> None:
    # Half the widths are 0.039, 0.14, 145, 0 and 0.025.
    rows = cells(as_markdown(INTERVALS))[2:]
    assert [row[1:4] for row in rows] == [
        ["-0.148", "-0.187", "-0.109"],
        ["0.02", "-0.12", "0.16"],
        ["482", "310", "601"],
        ["1.000", "1.000", "1.000"],
        ["0.000", "-0.030", "0.020"],
    ]
    assert {row[4] for row in rows} == {"1.235"}
    assert rows[0][0] == "0.123456"
    shown = [line.split()[1:4] for line in as_text(INTERVALS, 100).splitlines()[-5:]]
    assert shown == [row[1:4] for row in rows]


def test_csv_and_json_keep_all_digits_of_a_number_with_an_interval() -> None:
    assert read_csv(as_csv(INTERVALS))[1][1:4] == ["-0.148123", "-0.187345", "-0.109456"]
    assert json.loads(as_json(INTERVALS))[0]["effect"] == -0.148123


def test_bounds_without_an_interval_are_rounded_like_other_numbers() -> None:
    frame = pd.DataFrame({"n": [3, 3], "x": [0.12345, 2], "x_lower": [NAN, 1], "x_upper": [NAN, 9]})
    rows = cells(as_markdown(Table(frame, ("n",), "")))[2:]
    assert [row[1:] for row in rows] == [["0.1235", "", ""], ["2.0", "1.0", "9.0"]]
