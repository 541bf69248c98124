"""Finding the coefficient that brings a statistic of KL to a target, in a few evaluations."""

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
    """What `isoklx.calibrate` found.

    Parameters
    ----------
    c_star : float
        The coefficient tried whose statistic is nearest to the target, in log; NaN where no
        coefficient gave any KL. It meets the target only if `converged`.
    converged : bool
        Whether the statistic at `c_star` is within the tolerance of the target.
    reason : str
        Why not, in one line; empty when converged.
    history : list of dict
        One entry per evaluation, with the keys of ``history.json``: ``coeff``, ``coeff_abs``,
        ``sign``, ``kl_mean``, ``kl_p50``, ``kl_p90``, ``kl_p95`` and ``kl_max`` over all tokens,
        ``n_pos`` (how many tokens), and ``per_t_mean``, ``per_t_p95`` and ``per_t_max`` over the
        rollouts at each token (0.0 where all had ended). For ``statistic="rms"`` also ``kl_rms``.
        In order of evaluation; of a round of several the nearest to the target is last.

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
    """Find the coefficient at which a statistic of KL per token is `target_kl`.

    Parameters
    ----------
    measure : callable
        ``measure(coeff)`` returns KL(steered || base) in nats of every token of the calibration
        rollouts, as an array whose last axis is the token: (prompt, token), or any other shape.
        NaN is no token; infinity is one beyond any target. With ``batch > 1`` it is given a list
        of at most `batch` coefficients and returns as many arrays.
    target_kl : float
        Nats, above 0.
    statistic : {"p95", "rms", "mean"}
        Over all tokens of all rollouts: their 95th percentile (linear), root mean square or mean.
    start : float, optional
        First coefficient tried, or the middle of the first round; by default the geometric middle
        of `bracket`. The nearer to the result, the fewer evaluations.
    bracket : tuple of float
        Where the coefficient is looked for, both ends of one sign. An end is moved outwards when
        the target turns out to lie beyond it. A negative `start` or `bracket` calibrates the
        negative side, which is a calibration of its own.
    tolerance : float
        Largest ``|statistic / target_kl - 1|`` of a result.
    max_evaluations : int
        Most coefficients tried.
    batch : int
        Coefficients per call of `measure`, which a model rolls out together.

    Returns
    -------
    Calibration

    Raises
    ------
    UsageError
        When an argument is out of range, or `measure` does not return what it should.

    Notes
    -----
    A secant in log coefficient and log KL, safeguarded by a bracket. As long as all measures are
    below the target, the last two give the slope (2 where there is one: KL grows like the square
    of the coefficient while it is small). As long as all are above, where KL saturates, the steps
    down are long. Then the target is between two neighbours; where it is crossed several times,
    between the two smallest. Interpolation there is linear; an end that stays twice counts half
    (the Illinois rule).

    The first measure within `tolerance` ends it. It also ends, not converged, when the bracket has
    shrunk to 0.1%: KL jumps there, or is noisier than the tolerance.

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

    Where no coefficient reaches the target, the result says so:

    >>> found = calibrate(lambda coeff: [np.tanh(coeff / 9)], 2.0, max_evaluations=5)
    >>> found.converged
    False
    >>> print(found.reason)
    p95 of KL stays below 2: 1 at coefficient ... after 5 evaluations
    """
    _refuse(target_kl, statistic, tolerance, max_evaluations, batch)
    sign, first, low, high = _side(start, bracket)
    search = Search(target_kl, tolerance, first, math.log(low), math.log(high))
    history: list[dict[str, Any]] = []
    while not (search.converged or search.exhausted or len(history) == max_evaluations):
        sizes = search.proposals(min(batch, max_evaluations - len(history)))
        arrays = _measured(measure, [sign * size for size in sizes], batched=batch > 1)
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
    """A statistic of KL over all tokens.

    Parameters
    ----------
    kl : array_like
        Nats, of any shape; NaN is no token.
    statistic : {"p95", "rms", "mean"}
        Linear 95th percentile, root mean square, or mean.

    Returns
    -------
    float
        NaN where there is no token; infinity where an infinite KL decides.

    Examples
    --------
    >>> round(statistic_of([[0.0, 3.0], [4.0, float("nan")]], "rms"), 4)
    2.8868
    """
    values = np.asarray(kl, dtype=np.float64).ravel()
    values = values[~np.isnan(values)]
    if not values.size:
        return math.nan
    if statistic == "p95":
        return float(_quantiles(values, 0.95)[0])
    return float(values.mean() if statistic == "mean" else np.sqrt(np.mean(values**2)))


def _refuse(target_kl: float, statistic: str, tolerance: float, most: int, batch: int) -> None:
    if not (math.isfinite(target_kl) and target_kl > 0):
        raise UsageError(f"target_kl={target_kl}: give nats above 0")
    if statistic not in get_args(Statistic):
        raise UsageError(f"statistic={statistic!r}: give one of {', '.join(get_args(Statistic))}")
    if not 0 < tolerance < 1:
        raise UsageError(f"tolerance={tolerance}: give a share between 0 and 1")
    for name, value in (("max_evaluations", most), ("batch", batch)):
        if value < 1:
            raise UsageError(f"{name}={value}: give at least 1")


def _side(start: float | None, bracket: Sequence[float]) -> tuple[float, float, float, float]:
    """Sign, first size, and the smallest and largest size to look in."""
    ends = [*bracket]
    if len(ends) != 2 or not all(map(math.isfinite, ends)) or ends[0] * ends[1] <= 0:
        raise UsageError(f"bracket={bracket}: give two coefficients of one sign, and not 0")
    if start is not None and not (math.isfinite(start) and start != 0):
        raise UsageError(f"start={start}: give a coefficient that is not 0")
    if start is not None and start > 0 > ends[0]:
        raise UsageError(f"start={start} and bracket={bracket} are of different signs")
    low, high = sorted(map(abs, ends))
    first = math.sqrt(low) * math.sqrt(high) if start is None else abs(start)
    sign = -1.0 if min(ends[0], start or 0) < 0 else 1.0
    return sign, first, min(low, first), max(high, first)


def _measured(
    measure: Callable[[Any], Any], coefficients: list[float], *, batched: bool
) -> list[Floats]:
    found = measure(coefficients) if batched else [measure(coefficients[0])]
    wanted = f"for {len(coefficients)} coefficients"
    try:
        each = [*found]
    except TypeError as error:
        what = type(found).__name__
        raise UsageError(f"measure returned no list of arrays but {what} {wanted}") from error
    if len(each) != len(coefficients):
        raise UsageError(f"measure returned {len(each)} arrays {wanted}")
    try:
        arrays = [np.atleast_1d(np.asarray(kl, dtype=np.float64)) for kl in each]
    except (TypeError, ValueError, RuntimeError) as error:  # torch raises all three
        raise UsageError(f"measure did not return an array of KL per token: {error}") from error
    return [kl.reshape(-1, max(kl.shape[-1], 1)) for kl in arrays]


def _entry(coeff: float, kl: Floats, statistic: Statistic) -> dict[str, Any]:
    """An entry of history.json; `kl` is (rollout, token)."""
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
    """Linear quantiles over the last axis; between infinities there is infinity."""
    found = nan_quantiles(samples, np.array(q))
    some = ~np.isnan(samples).all(axis=-1, keepdims=True)
    return np.where(np.isnan(found) & some, math.inf, found)


def _reason(search: Search, sign: float, statistic: Statistic) -> str:
    """Why there is no result, in one line."""
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
