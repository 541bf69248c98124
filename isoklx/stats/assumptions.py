"""What an interval assumes, in a sentence for a caption."""

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
    """Say which interval of survival was used, and what it and the estimate take for granted.

    Parameters
    ----------
    interval, metric, ended
        As for `isoklx.survival`.
    counted : array of int
        Trajectories that each interval is of.
    n_prompts : array of int
        Prompts that these are of.
    level : float
        Confidence of the interval.

    Returns
    -------
    str
        One sentence.

    Examples
    --------
    >>> of_survival("auto", "pmass_eval", np.array([8]), np.array([8]), "censored")
    '95% intervals: beta product, prompts independent, rollouts that end early are censored.'
    >>> of_survival("auto", "pmass_eval", np.array([24]), np.array([8]), "alive")
    '95% intervals: beta product of 8 prompts, rollouts that end early count as alive.'
    """
    unit = f"{METRICS[metric].unit}s"
    several = bool((np.asarray(counted) > np.asarray(n_prompts)).any())
    how = f"{_method(interval, unit, n_prompts, several=several)}, {_end(ended)}"
    return f"{100 * level:.3g}% intervals: {how}."


def of_difference(metric: str, ended: Ended) -> str:
    r"""Say what the interval of a difference takes for granted.

    Examples
    --------
    >>> print(of_difference("pmass", "alive").replace("), ", "),\n"))
    95% intervals: paired by question (beta product, Newcombe),
    rollouts that end early count as alive.
    """
    unit = METRICS[metric].unit
    return f"95% intervals: paired by {unit} (beta product, Newcombe), {_end(ended)}."


def _method(interval: Interval, unit: str, n_prompts: Counts, *, several: bool) -> str:
    if interval == "greenwood":
        return "Greenwood's, trajectories independent, no width while nobody died"
    if interval == "beta":
        return "beta product, trajectories independent"
    if interval == "auto" and not several:
        return f"beta product, {unit} independent"
    least, most = int(np.min(n_prompts)), int(np.max(n_prompts))
    n = f"{most}" if least == most else f"{least} to {most}"
    return f"beta product of {n} {unit}"


def _end(ended: Ended) -> str:
    return "rollouts that end early " + ("count as alive" if ended == "alive" else "are censored")
