"""Terminal tables of dose response and safe doses, one short text per number."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pandas as pd

from isoklx.tables.captioned import define_answers
from isoklx.tables.table import Table


def dose_summary(response: Table, metric: str, confidence: float) -> Table:
    """Shorten `captioned.response`, made at the level ``2 * confidence - 1``, for a terminal."""
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
        "ended": [_formatted(value, lambda x: f"{x:.0%}") for value in rows["share_ended"]],
        "acquiescence": _with_interval(rows, "acquiescence", _hundredths),
        "correct": _with_interval(rows, "correct", _hundredths),
    }
    frame = pd.DataFrame(columns).dropna(axis="columns", how="all")
    return Table(frame, keys, _caption(rows, metric, confidence))


def safe_summary(table: Table, response: Table) -> Table:
    """Shorten `captioned.dose`; coefficients come from the `response` of the same groups."""
    rows, doses = table.frame, response.frame
    constant = set()
    if rows["threshold"].nunique() == 1:
        constant.add("threshold")
    if (rows["toward"] == "+").all():
        constant.add("toward")
    keys = tuple(key for key in table.keys if key not in constant)
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
        "lower": [_formatted(value, _hundredths) for value in rows["lower"]],
        "observed_dose": rows["observed_dose"],
        "observed_coeff": coefficient("observed_dose"),
        "next_dose": rows["next_dose"],
        "next_lower": [_formatted(value, _hundredths) for value in rows["next_lower"]],
        "n_prompts": rows["n_prompts"],
        "reason": rows["reason"],
    }
    return Table(pd.DataFrame(columns), keys, table.caption)


def _coeff(rows: pd.DataFrame) -> list[str | None]:
    return [_range(*each) for each in zip(rows["coeff_min"], rows["coeff_max"], strict=True)]


def _caption(rows: pd.DataFrame, metric: str, confidence: float) -> str:
    thresholds, statistic = rows["threshold"].unique(), rows["target_stat"].iloc[0]
    at = f", threshold {thresholds[0]:g}," if len(thresholds) == 1 else ""
    questions = rows.loc[rows["acquiescence"].notna(), "acquiescence_n_questions"]
    n = _range(questions.min(), questions.max()) if len(questions) else None
    over = f" Both are over {n} questions." if n else ""
    sentences = [
        "Effect of each dose. coeff: coefficient, smallest to largest of the cells.",
        f"kl: held-out {statistic} of KL in nats, with 95% interval over prompts.",
        f"alive: survival by {metric}{at} at the horizon, with "
        f"{100 * (2 * confidence - 1):.3g}% interval; its lower end is the one-sided "
        f"{100 * confidence:.12g}% bound used for safe doses.",
        "at_risk: trajectories followed to the horizon. length: mean, in tokens. ended: rollouts "
        "that ended before the window.",
        define_answers(rows) + over,
    ]
    return " ".join(filter(None, sentences))


def _with_interval(
    rows: pd.DataFrame, name: str, number: Callable[[float], str]
) -> list[str | None]:
    bounds = zip(rows[name], rows[f"{name}_lower"], rows[f"{name}_upper"], strict=True)
    found = []
    for value, low, high in bounds:
        text = _formatted(value, number)
        known = text is not None and not (math.isnan(low) or math.isnan(high))
        found.append(f"{text} [{number(low)}, {number(high)}]" if known else text)
    return found


def _formatted(value: float, number: Callable[[float], str]) -> str | None:
    return None if math.isnan(value) else number(value)


def _range(low: float, high: float) -> str | None:
    texts = dict.fromkeys(f"{value:.4g}" for value in (low, high))
    return None if math.isnan(low) else " to ".join(texts)


def _nats(value: float) -> str:
    return f"{value:.2g}" if 0 < value < 0.1 else _hundredths(value)


def _hundredths(value: float) -> str:
    """Format with two decimals, -1, 0 and 1 without any."""
    text = f"{value:.2f}"
    return {"-0.00": "0", "0.00": "0", "1.00": "1", "-1.00": "-1"}.get(text, text)
