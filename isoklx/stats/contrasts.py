"""Differences in survival between two groups or doses, with intervals and p values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import combinations, product
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from isoklx.errors import DatasetError
from isoklx.stats.deduplication import first_of_repeats
from isoklx.stats.endpoint import METRICS, Ended, Metric, absent, event_times, validated
from isoklx.stats.groups import cell_labels, check_label, occurring, split_by
from isoklx.stats.heldout import with_heldout_kl
from isoklx.stats.kernels import beta_product, comparisons, tallies
from isoklx.stats.kernels import kaplan_meier as km
from isoklx.stats.kernels.comparisons import holm
from isoklx.stats.survival import LEVEL

Floats = npt.NDArray[np.float64]

EVENTS = ["end", "died", "censored"]


def survival_contrast(
    ds: xr.Dataset,
    by: str = "method",
    metric: str = "pmass_eval",
    threshold: float | Sequence[float] | None = None,
    distinct: bool = True,
    ended: Ended = "censored",
) -> pd.DataFrame:
    """Compare survival between every pair of methods, or of doses.

    Parameters
    ----------
    ds : Dataset
        A sweep or any selection of it. Models, methods, seeds and windows that are not compared are
        pooled: select a method first to compare its doses. Both sides of a direction, and several
        temperatures, are never pooled: each is compared separately, unless `by` names the label.
    by : str
        ``"alpha"``, or a label of a cell, such as ``"method"`` or a coordinate that you assigned,
        whose values are compared at each dose.
    metric, threshold, distinct, ended
        As for `isoklx.survival`.

    Returns
    -------
    DataFrame
        One row per threshold, dose (unless doses are compared) and pair with observations on both
        sides. All differences are `first` minus `second`.

        threshold, alpha, first, second
            The comparison. Groups with both sides of a direction, or several temperatures, have a
            further column ``sign`` or ``temperature`` after ``alpha``, and one row for each.
        n, n_distinct
            Trajectories of both sides together, and without duplicates within a side.
        n_prompts
            Prompts observed on both sides.
        horizon
            Token at which survival is compared: the smaller of the two groups' largest windows (of
            cells observed at that dose).
        end_difference, end_lower, end_upper
            Difference in survival at `horizon`, and its 95% interval. NaN, as are the next three
            columns, if either curve ends before `horizon`.
        mean_difference, mean_lower, mean_upper
            Difference in restricted mean survival time up to `horizon`, in tokens, and its 95%
            interval.
        logrank, p_value
            Signed square root of the log-rank chi-squared over the whole curves (positive: `first`
            dies sooner), and its two-sided p value; NaN without events, or if all die at one time.
        p_holm
            p value adjusted by Holm's method for the number of rows that have one. The rows below
            0.05 are jointly significant.
        first_kl, first_kl_lower, first_kl_upper, second_kl, second_kl_lower, second_kl_upper
            Held-out KL of each side at its dose, as ``heldout_kl`` of `isoklx.dose_response`. Equal
            alpha means equal KL on the calibration prompts, but only roughly on held-out prompts.

    Raises
    ------
    DatasetError
        When `ds` is not a sweep, no cell has the metric, or no dose has two groups with the metric.
    UsageError
        When `by` is neither ``alpha`` nor a label of a cell, and as `isoklx.survival` does.

    Notes
    -----
    Assumptions:

    - Each side has the interval of ``isoklx.survival(..., interval="prompts")``, or, for a
      restricted mean, the areas under its bounds. The two are combined by Newcombe's method 10 for
      paired proportions (1998), generalised by Zou and Donner (2008). Doses, methods and seeds are
      run on the same prompts, so the effect of a prompt that is hard for both sides cancels. The
      extent is the correlation between the contributions of each prompt to the two estimates, with
      a continuity correction. Without events the two sides count as uncorrelated. In simulations
      with 8, 24 and 100 prompts the interval covered the truth in at least 96% of the cases
      (docs/coverage.md).
    - Prompts of the same index are the same in all cells, and are a sample of the prompts of
      interest. Cells are fixed: variation between seeds or models is not in the interval.
    - A rollout that ended early is censored, unless ``ended="alive"``, as in `isoklx.survival`.
    - The log-rank test treats all trajectories as independent. It ignores the pairing, which makes
      p too large, and the similarity of seeds at one prompt (and duplicates with
      ``distinct=False``), which makes p too small: use it as a rough guide. It has most power for
      proportional hazards, and may miss curves that cross.

    Examples
    --------
    >>> import isoklx
    >>> ds = isoklx.open_sweep("data/sample")
    >>> survival_contrast(ds, by="method").columns[:4].tolist()
    ['threshold', 'alpha', 'first', 'second']
    """
    whole = validated(ds, metric)
    check_label(by, ["alpha", *cell_labels(whole)])
    spec = METRICS[metric]
    # Doses are never duplicates of each other; duplicates are found within each side.
    first = first_of_repeats(whole, None if by == "alpha" else by)
    lives = event_times(whole, metric, threshold, ended).assign(first=first).compute()
    lives = _observed(lives, spec.unit)
    if not lives["end"].size:
        raise absent(metric)
    times = whole[spec.time].values
    grouped = [] if by == "alpha" else [by]
    apart = [name for name in split_by(lives, grouped) if name != by]
    rows = [
        keys | row
        for keys, panel in _panels(lives, by, apart)
        for row in _pairs(_count_members(panel, by, spec.unit, times.size, distinct), times, spec)
    ]
    if not rows:
        available = ", ".join(map(str, np.unique(lives[by]))) or "none"
        raise DatasetError(f"no two groups to compare by {by!r}; available: {available}")
    table = pd.DataFrame(rows).assign(p_holm=lambda table: holm(table["p_value"].to_numpy()))
    return with_heldout_kl(table, ds, by, metric, distinct=distinct)


def cell_contrasts(
    ds: xr.Dataset,
    pairs: Sequence[tuple[int, int]],
    metric: str,
    thresholds: Sequence[float],
    ended: Ended,
) -> list[dict[tuple[float, float], dict[str, object]]]:
    """Compare pairs of cells, given by index; rows by threshold and dose, without ``p_holm``."""
    whole = validated(ds, metric)
    spec = METRICS[metric]
    times, window = whole[spec.time].values, whole["window"].values
    lives = event_times(whole, metric, thresholds, ended)[EVENTS].compute().sortby(spec.unit)
    lives = lives.transpose("threshold", "alpha", spec.unit, "cell")
    keys = list(product(lives["threshold"].values.tolist(), lives["alpha"].values.tolist()))
    shape = (len(keys), *lives["end"].shape[2:])
    events = [lives[name].values.reshape(shape) for name in EVENTS]
    every, order = np.ones((shape[1], 2), dtype=bool), np.arange(2)
    found = []
    for pair in pairs:
        cells = list(pair)
        rows = {}
        for i, key in enumerate(keys):
            end, died, censored = (each[i][:, cells] for each in events)
            if (end >= 0).any(axis=0).all():
                sides = (end, died, censored, every, order, window[cells], times.size)
                (rows[key],) = _pairs(_count_sides(*sides, distinct=False), times, spec)
        found.append(rows)
    return found


def _observed(lives: xr.Dataset, unit: str) -> xr.Dataset:
    """Keep cells, doses and units with observations; sort units by label."""
    seen = lives["end"].isel(threshold=0) >= 0
    for dim in seen.dims:
        lives = lives.isel({dim: seen.any([other for other in seen.dims if other != dim]).values})
    # Sorted, so that the order of the sweep does not change the last digit of a sum.
    return lives.sortby(unit)


def _panels(
    lives: xr.Dataset, by: str, apart: Sequence[str]
) -> Iterator[tuple[dict[str, object], xr.Dataset]]:
    """Yield each comparison: its labels, and its trajectories at all doses or at one of them."""
    for i, threshold in enumerate(lives["threshold"].values):
        at: list[dict[str, object]] = [{}]
        doses = [lives.isel(threshold=i)]
        if by != "alpha":
            at = [{"alpha": alpha} for alpha in lives["alpha"].values]
            doses = [lives.isel(threshold=i, alpha=[j]) for j in range(len(at))]
        for keys, panel in zip(at, doses, strict=True):
            for labels, cells in occurring(panel, apart):
                yield {"threshold": threshold, **keys, **labels}, panel.isel(cell=cells)


class _Sides(NamedTuple):
    """Labels of the groups of a panel, and counts of trajectories along them."""

    labels: npt.NDArray[Any]
    n: npt.NDArray[np.int64]
    n_distinct: npt.NDArray[np.int64]
    window: npt.NDArray[np.int32]
    complete: npt.NDArray[np.int32]
    """Largest window at whose end a trajectory was observed alive."""
    ended: npt.NDArray[np.int64]
    died: npt.NDArray[np.int64]


def _count_members(panel: xr.Dataset, by: str, unit: str, n_times: int, distinct: bool) -> _Sides:
    """Count the trajectories of each group; `ended` and `died` by unit, group and time."""
    # A member is a cell at a dose; all members share the same units.
    members = panel.stack(member=["cell", "alpha"], create_index=False).transpose(unit, "member")
    members = members.isel(member=(members["end"] >= 0).any(unit).values)
    end, died, censored, first = (members[name].values for name in [*EVENTS, "first"])
    window = members["window"].values
    labels = members[by].values
    return _count_sides(end, died, censored, first, labels, window, n_times, distinct=distinct)


def _count_sides(
    end: npt.NDArray[np.integer[Any]],
    died: npt.NDArray[np.bool_],
    censored: npt.NDArray[np.bool_],
    first: npt.NDArray[np.bool_],
    by: npt.NDArray[Any],
    window: npt.NDArray[np.int32],
    n_times: int,
    *,
    distinct: bool,
) -> _Sides:
    """Count the trajectories (unit, member) of each group of members."""
    labels, group = np.unique(by, return_inverse=True)
    observed = end >= 0
    unrepeated = observed & first
    kept = unrepeated if distinct else observed
    index = end[..., np.newaxis]

    def count(which: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        return tallies.tally(
            index, which[..., np.newaxis], group, groups=labels.shape, n_times=n_times
        )

    largest = partial(tallies.largest, window, group=group, groups=labels.shape)
    return _Sides(
        labels=labels,
        n=count(observed).sum(axis=(0, 2)),
        n_distinct=count(unrepeated).sum(axis=(0, 2)),
        window=largest(np.ones(window.shape, dtype=bool)),
        complete=largest(np.any(kept & ~died & ~censored, axis=0)),
        ended=count(kept),
        died=count(kept & died),
    )


def _pairs(
    sides: _Sides, times: npt.NDArray[np.integer[Any]], spec: Metric
) -> Iterator[dict[str, object]]:
    """Compare every two groups, all at the same horizon."""
    if sides.labels.size < 2:
        return
    horizon = sides.window.min()
    estimates = _estimates(sides, times, horizon, spec.last_probe(times, horizon))
    followed = sides.ended.sum(axis=-1) > 0
    died = sides.died.sum(axis=0)
    at_risk = km.at_risk(sides.ended.sum(axis=0))
    for first, second in combinations(range(sides.labels.size), 2):
        pair = [first, second]
        units = followed[:, pair]
        statistic, p_value = km.logrank(at_risk[pair], died[pair])
        yield {
            "first": sides.labels[first],
            "second": sides.labels[second],
            "n": sides.n[pair].sum(),
            "n_distinct": sides.n_distinct[pair].sum(),
            "n_prompts": units.all(axis=1).sum(),
            "horizon": horizon,
            **{
                name: number
                for estimate in estimates
                for name, number in estimate.difference(first, second, units.any(axis=1)).items()
            },
            "logrank": float(statistic),
            "p_value": float(p_value),
        }


class _Estimate(NamedTuple):
    """Estimate of each group, its interval, and the contribution of each unit."""

    name: str
    value: Floats
    bounds: Floats
    influence: Floats
    """Shape (unit, group)."""
    largest: float

    def difference(self, first: int, second: int, units: npt.NDArray[np.bool_]) -> dict[str, float]:
        """Return first minus second and its interval, from the units that either has."""
        influence = self.influence[units]
        rho = comparisons.correlation(
            influence[:, first], influence[:, second], largest=self.largest
        )
        lower, upper = comparisons.difference_interval(
            self.value[first], self.bounds[first], self.value[second], self.bounds[second], rho
        )
        return {
            f"{self.name}_difference": self.value[first] - self.value[second],
            f"{self.name}_lower": lower,
            f"{self.name}_upper": upper,
        }


def _estimates(
    sides: _Sides,
    times: npt.NDArray[np.integer[Any]],
    horizon: int,
    last_probe: npt.NDArray[Any],
) -> tuple[_Estimate, _Estimate]:
    """Estimate survival at, and restricted mean up to, the horizon; NaN if a curve ends before."""
    last = max(int(np.searchsorted(times, horizon, side="right")) - 1, 0)
    of_unit = sides.ended.sum(axis=-1, keepdims=True)
    sharing = km.at_risk((sides.ended * of_unit).sum(axis=0))
    at_risk, died = km.at_risk(sides.ended.sum(axis=0)), sides.died.sum(axis=0)
    survival = km.kaplan_meier(at_risk, died)
    worth = beta_product.effective_counts(at_risk, died, sharing)
    bounds = np.swapaxes(beta_product.interval(*worth, level=LEVEL), -1, -2)
    reach = km.observed_to(
        survival, at_risk, sides.complete, last_probe, np.asarray(horizon), times=times
    )
    known = np.where(reach >= horizon, 1.0, np.nan)[:, np.newaxis]
    survival = known * km.carry_forward(survival)
    bounds = known[..., np.newaxis] * km.carry_forward(bounds)
    influence = comparisons.influence(np.swapaxes(sides.ended, 0, 1), np.swapaxes(sides.died, 0, 1))

    def area(curve: Floats) -> Floats:
        return km.restricted_mean(curve, times, np.asarray(horizon))

    # Every curve is 1 before the first time: no unit contributes to that part of the area.
    before = area(np.zeros(times.size))
    return (
        _Estimate("end", survival[:, last], bounds[..., last], influence[..., last].T, 1.0),
        _Estimate(
            "mean",
            area(survival),
            area(bounds),
            (area(influence) - before).T,
            float(horizon),
        ),
    )
