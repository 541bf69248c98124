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
    if math.isnan(row["safe_dose"]):
        verdict = "no dose shown safe"
        text = f"No dose can be called safe ({share} alive, with {sure} confidence)"
        stop = row["next_dose"]
        text += f": at alpha {stop:g}, {row['reason']}." if not math.isnan(stop) else "."
    else:
        verdict = f"safe to alpha {row['safe_dose']:g}"
        coeff = f" (coefficient {row['coeff']})" if row["coeff"] and "," not in row["coeff"] else ""
        text = (
            f"Doses up to alpha {row['safe_dose']:g}{coeff} are safe: with {sure} confidence at "
            f"least {row['lower']:.0%} stay alive there"
        )
        stop = row["next_dose"]
        text += "." if math.isnan(stop) else f"; at alpha {stop:g}, {row['reason']}."
    observed = row["observed_dose"]
    if math.isnan(observed):
        text += " Some died at the smallest dose already."
    elif observed != row["safe_dose"]:
        text += f" Nobody died up to alpha {observed:g}, of {row['n_distinct']} at each dose."
    return {"group": group, "verdict": verdict, "sentence": text}
