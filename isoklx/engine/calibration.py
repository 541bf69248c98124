"""Search for the coefficient that brings a statistic of KL to a target."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from isoklx.engine.choices import Statistic
from isoklx.engine.secant import Floats, Search
from isoklx.errors import UsageError
from isoklx.stats.kernels.quantiles import nan_quantiles


@dataclass(frozen=True)
class Calibration:
    """Result of `isoklx.calibrate`.

    Parameters
    ----------
    c_star : float
        The tried coefficient whose statistic is nearest to the target, in log; NaN if the KL was
        infinite or missing at every coefficient. It meets the target only if `converged`.
    converged : bool
        True if the statistic at `c_star` is within the tolerance of the target.
    reason : str
        Why the search did not converge, in one line; empty if it did.
    history : list of dict
        One entry per evaluation, with the keys of ``history.json``: ``coeff``, ``coeff_abs``,
        ``sign``, ``kl_mean``, ``kl_p50``, ``kl_p90``, ``kl_p95`` and ``kl_max`` over all tokens,
        ``n_pos`` (number of tokens), and ``per_t_mean``, ``per_t_p95`` and ``per_t_max`` over the
        rollouts at each token (0.0 after all of them ended). For ``statistic="rms"`` also
        ``kl_rms``. In order of evaluation; within a batch, the nearest to the target is last.

    Examples
    --------
    >>> found = calibrate(lambda coeff: [0.01 * coeff**2], target_kl=1.0, start=5.0)
    >>> found.converged, found.reason
    (True, '')
    >>> [(step["coeff"], step["kl_p95"]) for step in found.history]
    [(5.0, 0.25), (10.0, 1.0)]
    """

    c_star: float
    converged: bool
    reason: str
    history: list[dict[str, Any]]


def calibrate(
    measure: Callable[[Any], Any],
    target_kl: float = 1.0,
    *,
    statistic: Statistic = "p95",
    start: float | None = None,
    bracket: tuple[float, float] = (1e-3, 1e5),
    tolerance: float = 0.05,
    max_evaluations: int = 12,
    batch: int = 1,
) -> Calibration:
    """Find the coefficient at which a statistic of KL per token equals `target_kl`.

    Parameters
    ----------
    measure : callable
        ``measure(coeff)`` returns KL(steered || base) in nats of every token of the calibration
        rollouts, as an array whose last axis is the token: (prompt, token), or any other shape.
        NaN marks a missing token; infinity exceeds any target. With ``batch > 1`` it receives a
        list of at most `batch` coefficients and returns a list of as many arrays.
    target_kl : float
        Target in nats, above 0.
    statistic : {"p95", "rms", "mean"}
        Statistic over all tokens of all rollouts: 95th percentile (linear), root mean square or
        mean.
    start : float, optional
        First coefficient to try, or the middle of the first batch; by default the geometric mean
        of `bracket`. The nearer to the result, the fewer evaluations.
    bracket : tuple of float
        Range to search, both ends of one sign. An end moves outwards when the target lies beyond
        it. A negative `start` or `bracket` calibrates the negative side, which is a calibration
        of its own.
    tolerance : float
        Largest accepted ``|statistic / target_kl - 1|``.
    max_evaluations : int
        Maximum number of coefficients tried.
    batch : int
        Coefficients per call of `measure`, for a model that rolls out several together.

    Returns
    -------
    Calibration

    Raises
    ------
    UsageError
        If an argument is out of range, or `measure` returns a wrong number of arrays or
        something that is not an array.

    Notes
    -----
    A secant in log coefficient and log KL, safeguarded by a bracket. While all statistics are
    below the target, the last two give the slope (2 after a single one: KL grows like the square
    of the coefficient while it is small). While all are above, where KL saturates, the steps down
    are long. Once the target is bracketed, the next point is interpolated linearly between the
    two neighbours; if KL crosses the target several times, the crossing at the smallest
    coefficient is taken. An end that stays twice counts half (the Illinois rule).

    The search stops at the first statistic within `tolerance`. It stops without converging when
    the bracket has shrunk to 0.1%: KL jumps there, or is noisier than the tolerance.

    Examples
    --------
    A model of two words, whose log odds the coefficient raises at each of 50 tokens:

    >>> import numpy as np
    >>> def measure(coeff):
    ...     base = np.linspace(-2, 2, 50)
    ...     steered = base + 0.1 * coeff
    ...     p = 1 / (1 + np.exp(-steered))
    ...     return p * (steered - base) + np.log1p(np.exp(base)) - np.log1p(np.exp(steered))
    >>> found = calibrate(measure, target_kl=0.5, start=1.0)
    >>> found.converged, round(found.c_star, 1), len(found.history)
    (True, 20.6, 3)

    If no coefficient reaches the target, the result says so:

    >>> found = calibrate(lambda coeff: [np.tanh(coeff / 9)], 2.0, max_evaluations=5)
    >>> found.converged
    False
    >>> print(found.reason)
    p95 of KL stays below 2: 1 at coefficient ... after 5 evaluations
    """
    _check(target_kl, statistic, tolerance, max_evaluations, batch)
    sign, first, low, high = _side(start, bracket)
    search = Search(target_kl, tolerance, first, math.log(low), math.log(high))
    history: list[dict[str, Any]] = []
    while not (search.converged or search.exhausted or len(history) == max_evaluations):
        sizes = search.proposals(min(batch, max_evaluations - len(history)))
        arrays = _call(measure, [sign * size for size in sizes], batched=batch > 1)
        found = [
            (size, kl, statistic_of(kl, statistic)) for size, kl in zip(sizes, arrays, strict=True)
        ]
        found.sort(key=lambda each: (-search.distance(each[2]), -each[0]))
        for size, kl, value in found:
            search.take(size, value)
            history.append(_entry(sign * size, kl, statistic))
    return Calibration(
        c_star=math.nan if search.best is None else sign * search.tried[search.best],
        converged=search.converged,
        reason="" if search.converged else _reason(search, sign, statistic),
        history=history,
    )


def statistic_of(kl: npt.ArrayLike, statistic: Statistic) -> float:
    """Return a statistic of KL over all tokens, ignoring NaN; NaN if all are NaN."""
    values = np.asarray(kl, dtype=np.float64).ravel()
    values = values[~np.isnan(values)]
    if not values.size:
        return math.nan
    if statistic == "p95":
        return float(_quantiles(values, 0.95)[0])
    return float(values.mean() if statistic == "mean" else np.sqrt(np.mean(values**2)))


def _check(target_kl: float, statistic: str, tolerance: float, most: int, batch: int) -> None:
    if not (math.isfinite(target_kl) and target_kl > 0):
        raise UsageError(f"target_kl must be above 0, got {target_kl}")
    if statistic not in get_args(Statistic):
        known = ", ".join(get_args(Statistic))
        raise UsageError(f"statistic must be one of {known}, got {statistic!r}")
    if not 0 < tolerance < 1:
        raise UsageError(f"tolerance must be between 0 and 1, got {tolerance}")
    for name, value in (("max_evaluations", most), ("batch", batch)):
        if value < 1:
            raise UsageError(f"{name} must be at least 1, got {value}")


def _side(start: float | None, bracket: Sequence[float]) -> tuple[float, float, float, float]:
    """Return sign, first size, smallest and largest size to search."""
    ends = [*bracket]
    if len(ends) != 2 or not all(map(math.isfinite, ends)) or ends[0] * ends[1] <= 0:
        raise UsageError(f"bracket must be two nonzero coefficients of one sign, got {bracket}")
    if start is not None and not (math.isfinite(start) and start != 0):
        raise UsageError(f"start must be finite and not 0, got {start}")
    if start is not None and start > 0 > ends[0]:
        raise UsageError(f"start and bracket must have one sign, got {start} and {bracket}")
    low, high = sorted(map(abs, ends))
    first = math.sqrt(low) * math.sqrt(high) if start is None else abs(start)
    sign = -1.0 if min(ends[0], start or 0) < 0 else 1.0
    return sign, first, min(low, first), max(high, first)


def _call(
    measure: Callable[[Any], Any], coefficients: list[float], *, batched: bool
) -> list[Floats]:
    found = measure(coefficients) if batched else [measure(coefficients[0])]
    wanted = f"measure must return {len(coefficients)} arrays, one per coefficient"
    try:
        each = [*found]
    except TypeError as error:
        raise UsageError(f"{wanted}, got {type(found).__name__}") from error
    if len(each) != len(coefficients):
        raise UsageError(f"{wanted}, got {len(each)}")
    try:
        arrays = [np.atleast_1d(np.asarray(kl, dtype=np.float64)) for kl in each]
    except (TypeError, ValueError, RuntimeError) as error:  # torch raises all three
        raise UsageError(f"measure must return an array of KL per token: {error}") from error
    return [kl.reshape(-1, max(kl.shape[-1], 1)) for kl in arrays]


def _entry(coeff: float, kl: Floats, statistic: Statistic) -> dict[str, Any]:
    """Return an entry of history.json; `kl` is (rollout, token)."""
    values = kl[~np.isnan(kl)]
    p50, p90, p95, largest = _quantiles(kl.ravel(), 0.5, 0.9, 0.95, 1.0).tolist()
    n = np.maximum((~np.isnan(kl)).sum(axis=0), 1)
    per_t_p95, per_t_max = np.nan_to_num(_quantiles(kl.T, 0.95, 1.0), nan=0.0, posinf=math.inf).T
    return {
        "coeff": coeff,
        "coeff_abs": abs(coeff),
        "sign": math.copysign(1.0, coeff),
        "kl_mean": statistic_of(values, "mean"),
        **({"kl_rms": statistic_of(values, "rms")} if statistic == "rms" else {}),
        "kl_p50": p50,
        "kl_p90": p90,
        "kl_p95": p95,
        "kl_max": largest,
        "n_pos": values.size,
        "per_t_mean": (np.where(np.isnan(kl), 0.0, kl).sum(axis=0) / n).tolist(),
        "per_t_p95": per_t_p95.tolist(),
        "per_t_max": per_t_max.tolist(),
    }


def _quantiles(samples: Floats, *q: float) -> Floats:
    """Return linear quantiles over the last axis; between two infinities, infinity."""
    found = nan_quantiles(samples, np.array(q))
    some = ~np.isnan(samples).all(axis=-1, keepdims=True)
    return np.where(np.isnan(found) & some, math.inf, found)


def _reason(search: Search, sign: float, statistic: Statistic) -> str:
    """Explain in one line why the search did not converge."""
    x, y, above = search.ascending()
    if not np.isfinite(y).any():
        ends = f"{sign * math.exp(x[0]):.4g} to {sign * math.exp(x[-1]):.4g}"
        return f"no finite KL at any of {x.size} coefficients from {ends}"

    def at(i: int) -> str:
        kl = search.target * math.exp(y[i])
        return f"{kl:.3g} at coefficient {sign * math.exp(x[i]):.6g}"

    what, cost = f"{statistic} of KL", f"after {x.size} evaluations"
    if above in (0, x.size):
        side, i = ("below", -1) if above else ("above", 0)
        return f"{what} stays {side} {search.target:g}: {at(i)}, {cost}"
    if search.exhausted:
        between = "it jumps there, or is noisier than the tolerance"
        return f"{what} is {at(above - 1)} and {at(above)}: {between}"
    return f"{what} is {at(above - 1)} and {at(above)}, {cost}: not within {search.tolerance:g} yet"
