"""What a sweep says, in sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from isoklx.plot.titles import group_name


def safe_dose_sentences(
    table: pd.DataFrame, by: Sequence[str], survive: float, confidence: float
) -> list[dict[str, str]]:
    """Say in a sentence each how far a group's doses are safe.

    Parameters
    ----------
    table : DataFrame
        As `isoklx.safe_dose` returns it.
    by : sequence of str
        What it is grouped by.
    survive, confidence : float
        As they were asked for.

    Returns
    -------
    list of dict
        ``group``, ``verdict`` (a word or two) and ``sentence``.
    """
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
        text += " Some died at the smallest dose already."
    elif observed != row["safe_dose"]:
        text += f" Nobody died {up_to} alpha {observed:g}{_coefficient(row['observed_coeff'])}."
    return {"group": group, "verdict": verdict, "sentence": text}


def _coefficient(text: str) -> str:
    """Name the coefficient of a dose where all cells have the same one."""
    return f" (coefficient {text})" if text and "," not in text else ""
