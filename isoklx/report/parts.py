"""Tables and sentences of the page, and the script that reloads it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from importlib import resources
from typing import Any

import pandas as pd
import xarray as xr
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from isoklx.plot.titles import group_name
from isoklx.tables.comparison import comparison
from isoklx.tables.table import Table, as_csv, readable


def html_table(name: str, title: str, table: Table) -> dict[str, Any]:
    """Prepare a table for the template: columns, cells with their sort values, and CSV.

    `name` is used in identifiers and file names, `title` as heading.
    """
    frame = table.frame
    texts = readable(table)
    columns = [
        {"heading": str(each).replace("_", " "), "numeric": _is_number(frame[each])}
        for each in frame
    ]
    values = [_sort_values(frame[each]) for each in frame]
    rows = [
        [{"text": text, "value": value} for text, value in zip(row, of_row, strict=True)]
        for row, of_row in zip(
            texts.itertuples(index=False, name=None), zip(*values, strict=True), strict=True
        )
    ]
    return {
        "name": name,
        "title": title,
        "caption": table.caption,
        "keys": len(table.keys),
        "columns": columns,
        "rows": rows,
        "csv": as_csv(table),
    }


def _is_number(column: Any) -> bool:
    return bool(is_numeric_dtype(column) and not is_bool_dtype(column))


def _sort_values(column: Any) -> list[float | None]:
    """Return the numbers to sort by, with all digits; None for texts, which sort as shown."""
    if not _is_number(column):
        return [None] * len(column)
    return [None if value != value else float(value) for value in column.tolist()]  # noqa: PLR0124


TITLES = {
    "cells": "Cells of both sweeps",
    "settings": "Different settings",
    "doses": "Survival and KL of both sweeps by dose",
}


def compared(
    ds: xr.Dataset, against: xr.Dataset, name: str, threshold: float | None
) -> dict[str, Any]:
    """Prepare the tables that compare `against` (A) with the sweep of the page (B)."""
    thresholds = None if threshold is None else [threshold]
    tables = comparison(against, ds, (name, "the sweep of this page"), threshold=thresholds)
    return {
        "name": name,
        "tables": [
            html_table(f"compare_{key}", TITLES[key], table) for key, table in tables.items()
        ],
    }


END = "</body>"


def refreshing(page: str, every: float, says: str) -> str:
    """Add to a page a bar and a script that reloads it every `every` seconds.

    The page does not reload within a minute of a key, click or scroll, nor while text is selected.
    Selections, sorting, open tables and the scroll position are restored.
    """
    script = (resources.files("isoklx.report") / "assets" / "refresh.js").read_text("utf-8")
    # As a JSON escape, "<" cannot start a tag.
    given = json.dumps({"every": every, "says": says}).replace("<", "\\u003c")
    before, end, after = page.rpartition(END)
    return f"{before}<script>const watched = {given};\n{script}</script>\n{end}{after}"


def safe_dose_sentences(
    table: pd.DataFrame, by: Sequence[str], survive: float, confidence: float
) -> list[dict[str, str]]:
    """Describe the safe dose of each group as ``group``, ``verdict`` and ``sentence``."""
    return [_sentence(row, by, survive, confidence) for row in table.to_dict("records")]


def _sentence(
    row: dict[Any, Any], by: Sequence[str], survive: float, confidence: float
) -> dict[str, str]:
    group = group_name({name: row[name] for name in by}) or "all cells"
    share, sure = f"{survive:.0%}", f"{confidence:.0%}"
    up_to, group = (
        ("down to", f"{group}, negative doses") if row["toward"] == "-" else ("up to", group)
    )
    stop, observed = row["next_dose"], row["observed_dose"]
    at_stop = "" if math.isnan(stop) else f"at alpha {stop:g}, {row['reason']}"
    if math.isnan(row["safe_dose"]):
        verdict = "no dose shown safe"
        text = f"No dose can be called safe ({share} alive, with {sure} confidence)"
        text += f": {at_stop}." if at_stop else "."
    else:
        verdict = f"safe {up_to.split()[1]} alpha {row['safe_dose']:g}"
        text = (
            f"Doses {up_to} alpha {row['safe_dose']:g}{_coefficient(row['coeff'])} are safe: with "
            f"{sure} confidence at least {row['lower']:.0%} stay alive there"
        )
        text += f"; {at_stop}." if at_stop else "."
    if math.isnan(observed):
        text += " Some rollouts died at the smallest dose."
    elif observed != row["safe_dose"]:
        text += f" No rollout died {up_to} alpha {observed:g}{_coefficient(row['observed_coeff'])}."
    return {"group": group, "verdict": verdict, "sentence": text}


def _coefficient(text: str) -> str:
    """Name the coefficient of a dose if all cells share it."""
    return f" (coefficient {text})" if text and "," not in text else ""
