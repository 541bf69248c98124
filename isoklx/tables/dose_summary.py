"""What each dose does, narrow enough for a terminal."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pandas as pd

from isoklx.tables.captioned import said_of_answers
from isoklx.tables.table import Table


def dose_summary(response: Table, metric: str, confidence: float) -> Table:
    """Sum up the table of what each dose does: a short text per number and its interval.

    Parameters
    ----------
    response : Table
        As of `isoklx.tables.captioned.response`, at the level ``2 * confidence - 1``.
    metric : str
        What death is read from.
    confidence : float
        Of a claim of safety.

    Returns
    -------
    Table
        One row per threshold, group and dose. A quantity that was not measured has no column.

    Examples
    --------
    >>> import isoklx
    >>> from isoklx.tables.captioned import response
    >>> with isoklx.open_sweep("data/measured") as ds:
    ...     table = dose_summary(response(ds, level=0.9), "pmass_eval", 0.95)
    >>> table.frame[["method", "coeff", "kl", "alive"]].iloc[4].to_list()
    ['directional_ablation', '12.29', '0.88 [0.62, 1.31]', '1 [0.74, 1]']
    """
    rows = response.frame
    thresholds = rows["threshold"].unique()
    keys = response.keys[1:] if len(thresholds) == 1 else response.keys
    columns: dict[str, Any] = {name: rows[name] for name in keys}
    columns |= {
        "coeff": _coeff(rows),
        "kl": _with_interval(rows, "heldout_kl", _nats),
        "alive": _with_interval(rows, "survival", _hundredths),
        "at_risk": rows["at_risk"],
        "length": rows["mean_length"].round(),
        "ended": [_text(value, lambda x: f"{x:.0%}") for value in rows["share_ended"]],
        "acquiescence": _with_interval(rows, "acquiescence", _hundredths),
        "correct": _with_interval(rows, "correct", _hundredths),
    }
    frame = pd.DataFrame(columns).dropna(axis="columns", how="all")
    return Table(frame, keys, _caption(rows, metric, confidence))


def safe_summary(table: Table, response: Table) -> Table:
    """Sum up the table of safe doses: the columns that a person needs, coefficients as ranges.

    Parameters
    ----------
    table : Table
        As of `isoklx.tables.captioned.dose`.
    response : Table
        As of `isoklx.tables.captioned.response` of the same cells and groups.

    Returns
    -------
    Table
        One row per threshold, group and side; ``threshold`` and ``toward`` only where several are.
    """
    rows, doses = table.frame, response.frame
    left_out = set()
    if rows["threshold"].nunique() == 1:
        left_out.add("threshold")
    if (rows["toward"] == "+").all():
        left_out.add("toward")
    keys = tuple(key for key in table.keys if key not in left_out)
    at = [key for key in table.keys if key != "toward"]
    coefficients = dict(
        zip(doses[[*at, "alpha"]].itertuples(index=False, name=None), _coeff(doses), strict=True)
    )

    def coefficient(dose: str) -> list[str | None]:
        places = rows[[*at, dose]].itertuples(index=False, name=None)
        return [coefficients.get(place) for place in places]

    columns = {
        **{key: rows[key] for key in keys},
        "safe_dose": rows["safe_dose"],
        "coeff": coefficient("safe_dose"),
        "lower": [_text(value, _hundredths) for value in rows["lower"]],
        "observed_dose": rows["observed_dose"],
        "observed_coeff": coefficient("observed_dose"),
        "next_dose": rows["next_dose"],
        "next_lower": [_text(value, _hundredths) for value in rows["next_lower"]],
        "n_prompts": rows["n_prompts"],
        "reason": rows["reason"],
    }
    return Table(pd.DataFrame(columns), keys, table.caption)


def _coeff(rows: pd.DataFrame) -> list[str | None]:
    return [_from_to(*each) for each in zip(rows["coeff_min"], rows["coeff_max"], strict=True)]


def _caption(rows: pd.DataFrame, metric: str, confidence: float) -> str:
    thresholds, statistic = rows["threshold"].unique(), rows["target_stat"].iloc[0]
    at = f", threshold {thresholds[0]:g}" if len(thresholds) == 1 else ""
    questions = rows.loc[rows["acquiescence"].notna(), "acquiescence_n_questions"]
    over = (
        f" Over {_from_to(questions.min(), questions.max())} questions." if len(questions) else ""
    )
    sentences = [
        "What each dose does. Coeff: coefficient, from the smallest to the largest of the cells.",
        f"Kl: held-out {statistic} of KL, in nats, with a 95% interval over prompts.",
        f"Alive: survival by {metric}{at}, at the horizon, with a "
        f"{100 * (2 * confidence - 1):.3g}% interval, whose lower end is the one-sided "
        f"{100 * confidence:.12g}% bound that a claim of safety uses.",
        "At risk: trajectories followed to it. Length: mean tokens. Ended: before the window.",
        said_of_answers(rows) + over,
    ]
    return " ".join(filter(None, sentences))


def _with_interval(
    rows: pd.DataFrame, name: str, number: Callable[[float], str]
) -> list[str | None]:
    bounds = zip(rows[name], rows[f"{name}_lower"], rows[f"{name}_upper"], strict=True)
    found = []
    for value, low, high in bounds:
        text = _text(value, number)
        known = text is not None and not (math.isnan(low) or math.isnan(high))
        found.append(f"{text} [{number(low)}, {number(high)}]" if known else text)
    return found


def _text(value: float, number: Callable[[float], str]) -> str | None:
    return None if math.isnan(value) else number(value)


def _from_to(low: float, high: float) -> str | None:
    texts = dict.fromkeys(f"{value:.4g}" for value in (low, high))
    return None if math.isnan(low) else " to ".join(texts)


def _nats(value: float) -> str:
    return f"{value:.2g}" if 0 < value < 0.1 else _hundredths(value)


def _hundredths(value: float) -> str:
    """Two decimals; whole numbers as such."""
    text = f"{value:.2f}"
    return {"-0.00": "0", "0.00": "0", "1.00": "1", "-1.00": "-1"}.get(text, text)
