"""Assumptions of an interval, in one sentence for a caption."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from isoklx.stats.endpoint import METRICS, Ended
from isoklx.stats.kernels.kaplan_meier import Interval
from isoklx.stats.survival import LEVEL

Counts = npt.NDArray[Any]


def of_survival(
    interval: Interval,
    metric: str,
    counted: Counts,
    n_prompts: Counts,
    ended: Ended,
    level: float = LEVEL,
) -> str:
    """Name the interval of survival and its assumptions; ``counted`` are its trajectories."""
    unit = f"{METRICS[metric].unit}s"
    several = bool((np.asarray(counted) > np.asarray(n_prompts)).any())
    how = f"{_interval_text(interval, unit, n_prompts, several=several)}, {_ended_text(ended)}"
    return f"{100 * level:.3g}% intervals: {how}."


def of_difference(metric: str, ended: Ended) -> str:
    """Name the assumptions of the interval of a difference."""
    unit = METRICS[metric].unit
    return f"95% intervals: paired by {unit} (beta product, Newcombe), {_ended_text(ended)}."


def _interval_text(interval: Interval, unit: str, n_prompts: Counts, *, several: bool) -> str:
    if interval == "greenwood":
        return "Greenwood's, trajectories independent, no width without events"
    if interval == "beta":
        return "beta product, trajectories independent"
    if interval == "auto" and not several:
        return f"beta product, {unit} independent"
    least, most = int(np.min(n_prompts)), int(np.max(n_prompts))
    n = f"{most}" if least == most else f"{least} to {most}"
    return f"beta product of {n} {unit}"


def _ended_text(ended: Ended) -> str:
    return "rollouts that end early " + ("count as alive" if ended == "alive" else "are censored")
