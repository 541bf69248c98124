"""The tables of a sweep as people read them: rows, keys, and a caption that says n."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import xarray as xr

from isoklx.stats.assumptions import of_difference, of_survival
from isoklx.stats.contrasts import survival_contrast
from isoklx.stats.deduplication import count_cells
from isoklx.stats.dose_response import dose_response
from isoklx.stats.endpoint import METRICS, Ended, validated
from isoklx.stats.groups import occurring, split_by
from isoklx.stats.heldout import said_of_kl
from isoklx.stats.kernels.kaplan_meier import Interval
from isoklx.stats.safety import safe_dose
from isoklx.stats.survival import LEVEL, survival_summary
from isoklx.tables.calibration import (
    CALIBRATION_KEYS,
    HELD_OUT_RANGE,
    TOLERANCE,
    calibration_table,
)
from isoklx.tables.headline import headline_table
from isoklx.tables.table import Table


def headline(ds: xr.Dataset) -> Table:
    """The headline table: the calibrated coefficient over seeds.

    Parameters
    ----------
    ds : Dataset
        A sweep.

    Returns
    -------
    Table
        Rows of `isoklx.headline_table`.

    Raises
    ------
    DatasetError
        When `ds` is not a sweep.

    Examples
    --------
    >>> import isoklx
    >>> headline(isoklx.open_sweep("data/sample")).caption[:48]
    'Calibrated coefficient c_star, over seeds. Cells'
    """
    frame = headline_table(ds)
    n, n_distinct = count_cells(ds)
    caption = (
        f"Calibrated coefficient c_star, over seeds. {_count_of_cells(n, n_distinct)} The spread "
        "is over the n_distinct calibrations that repeat no other."
    )
    averaged = n - int(frame["n_seeds"].sum())
    if averaged:
        caption += f" {averaged} of them repeat a seed: cells of one seed were averaged first."
    return Table(frame, _before(frame, "c_mean"), caption)


def survival(
    ds: xr.Dataset,
    metric: str = "pmass_eval",
    threshold: Sequence[float] | None = None,
    by: Sequence[str] | None = None,
    distinct: bool = True,
    interval: Interval = "auto",
    ended: Ended = "censored",
) -> Table:
    """The survival table: one row per threshold, group and dose.

    Parameters
    ----------
    ds, metric, threshold, by, distinct, interval, ended
        As for `isoklx.survival_summary`.

    Returns
    -------
    Table
        Rows of `isoklx.survival_summary`.

    Raises
    ------
    DatasetError, UsageError
        As `isoklx.survival_summary` does.

    Examples
    --------
    >>> import isoklx
    >>> survival(isoklx.open_sweep("data/sample")).keys
    ('threshold', 'alpha')
    """
    frame = survival_summary(ds, metric, threshold, by, distinct, interval, ended)
    counted = frame["n_distinct" if distinct else "n"].to_numpy()
    sure = of_survival(interval, metric, counted, frame["n_prompts"].to_numpy(), ended)
    early = int((frame["observed_to"] < frame["horizon"]).sum())
    ends = (
        f" {early} of {len(frame)} curves end before the horizon, at observed_to." if early else ""
    )
    caption = (
        f"Kaplan-Meier survival by {metric}. Counts and intervals are over {_over(distinct)}; "
        f"times are in tokens. {sure}{ends}{_pooled_windows(ds, metric, by or ())}"
    )
    return Table(frame, _before(frame, "n"), caption)


def contrast(
    ds: xr.Dataset,
    by: str = "method",
    metric: str = "pmass_eval",
    threshold: Sequence[float] | None = None,
    distinct: bool = True,
    ended: Ended = "censored",
) -> Table:
    """The contrast table: one row per threshold, dose and pair.

    Parameters
    ----------
    ds, by, metric, threshold, distinct, ended
        As for `isoklx.survival_contrast`.

    Returns
    -------
    Table
        Rows of `isoklx.survival_contrast`.

    Raises
    ------
    DatasetError, UsageError
        As `isoklx.survival_contrast` does.

    Examples
    --------
    >>> import isoklx
    >>> contrast(isoklx.open_sweep("data/sample")).keys
    ('threshold', 'alpha', 'first', 'second')
    """
    frame = survival_contrast(ds, by, metric, threshold, distinct, ended)
    caption = (
        f"Survival by {metric}, first minus second {by}, at the horizon and as restricted mean, in "
        f"tokens. Over {_over(distinct)}. {of_difference(metric, ended)} The log-rank test takes "
        "trajectories as independent; p holm is adjusted for the rows of this table."
    )
    return Table(frame, _before(frame, "n"), f"{caption}{_unequal_sides(frame, by)}")


def dose(
    ds: xr.Dataset,
    by: Sequence[str] | None = ("method",),
    survive: float = 0.9,
    confidence: float = 0.95,
    metric: str = "pmass_eval",
    threshold: Sequence[float] | None = None,
    distinct: bool = True,
    ended: Ended = "censored",
) -> Table:
    """The table of safe doses: one row per threshold and group.

    Parameters
    ----------
    ds, by, survive, confidence, metric, threshold, distinct, ended
        As for `isoklx.safe_dose`.

    Returns
    -------
    Table
        Rows of `isoklx.safe_dose`.

    Raises
    ------
    DatasetError, UsageError
        As `isoklx.safe_dose` does.

    Examples
    --------
    >>> import isoklx
    >>> dose(isoklx.open_sweep("data/sample")).keys
    ('threshold', 'method', 'toward')
    """
    frame = safe_dose(ds, by, survive, confidence, metric, threshold, distinct, ended)
    caption = (
        "Safe dose: the tested alpha farthest from 0 such that there and at every smaller one, the "
        f"one-sided lower {100 * confidence:.12g}% bound of survival by {metric} is at least "
        f"{survive:.12g}. Over {_over(distinct)}. Bounds: beta product, over prompts; doses are "
        "tested outwards from 0 until the first failure. Observed dose: the farthest up to which "
        "no trajectory died."
    )
    if (frame["toward"] == "-").any():
        caption += " Toward: the positive doses (+) and the negative ones (-) are tested apart."
    return Table(frame, _before(frame, "safe_dose"), caption)


def response(
    ds: xr.Dataset,
    by: Sequence[str] | None = ("method",),
    metric: str = "pmass_eval",
    threshold: Sequence[float] | None = None,
    distinct: bool = True,
    interval: Interval = "auto",
    ended: Ended = "censored",
    *,
    level: float = LEVEL,
) -> Table:
    """The table of what each dose does: one row per threshold, group and dose.

    Parameters
    ----------
    ds, by, metric, threshold, distinct, interval, ended, level
        As for `isoklx.dose_response`.

    Returns
    -------
    Table
        The numbers of `isoklx.dose_response`, the bounds of each in columns of their own.

    Raises
    ------
    DatasetError, UsageError
        As `isoklx.dose_response` does.

    Examples
    --------
    >>> import isoklx
    >>> table = response(isoklx.open_sweep("data/sample"))
    >>> list(table.frame.columns[:6])
    ['threshold', 'method', 'alpha', 'n', 'n_distinct', 'n_prompts']
    """
    doses = dose_response(ds, by, metric, threshold, distinct, interval, ended, level=level)
    doses = doses.compute()
    columns = {}
    for name, da in doses.data_vars.items():
        if "ci_bound" not in da.dims:
            columns[str(name)] = da
            continue
        for bound in ("lower", "upper"):
            label = f"{str(name).removesuffix('_ci')}_{bound}"
            columns[label] = da.sel(ci_bound=bound, drop=True)
    keys = ("threshold", *map(str, doses["n"].dims))
    frame = xr.Dataset(columns).to_dataframe(dim_order=list(keys)).sort_index().reset_index()
    frame = frame.loc[frame["n"] > 0, [*keys, *columns]].reset_index(drop=True)
    counted = frame["n_distinct" if distinct else "n"].to_numpy()
    sure = of_survival(interval, metric, counted, frame["n_prompts"].to_numpy(), ended, level)
    statistic = doses["heldout_kl"].attrs["target_stat"]
    frame = frame.assign(target_stat=statistic)
    sentences = [
        f"What each dose does. Survival by {metric}, times in tokens, KL in nats, over "
        f"{_over(distinct)}. {sure} All other intervals are 95% intervals over prompts, those of "
        "acquiescence and correct over questions.",
        f"Held-out KL: {statistic} over tokens.",
        said_of_kl(frame, statistic),
        said_of_answers(frame),
    ]
    return Table(frame, keys, " ".join(filter(None, sentences)))


def calibration(ds: xr.Dataset) -> Table:
    """The calibration table: one row per cell.

    Parameters
    ----------
    ds : Dataset
        A sweep.

    Returns
    -------
    Table
        Rows of `isoklx.calibration_table`.

    Raises
    ------
    DatasetError
        When `ds` is not a sweep.

    Examples
    --------
    >>> import isoklx
    >>> len(calibration(isoklx.open_sweep("data/sample")).frame)
    12
    """
    frame = calibration_table(ds)
    n_distinct = int((frame["repeats"] == "").sum())
    lowest, highest = HELD_OUT_RANGE
    caption = (
        f"Calibration of each cell. {_count_of_cells(len(frame), n_distinct)} KL is in nats. "
        f"Converged: the last p95 of the bisection is within {TOLERANCE} of the target. "
        "Pinned: not converged, and c_star is at an end of the range tried. In range: the held-out "
        f"p95 at alpha 1 is {lowest} to {highest} times the target with all of its 95% interval "
        "(Woodruff's, over prompts); no: with none of it. Mismatches are relative: of recorded and "
        "recomputed p95 of KL, and of coeff and alpha * c_star; 0 or rounding if all is well. "
        "c_star tried: a step of the bisection tried it. Calib newer: calib.json is younger than "
        "the results beside it."
    )
    return Table(frame, CALIBRATION_KEYS, caption)


def _before(frame: pd.DataFrame, column: str) -> tuple[str, ...]:
    """Columns in front of one: the keys of the rows."""
    return tuple(map(str, frame.columns[: frame.columns.get_loc(column)]))


def said_of_answers(doses: pd.DataFrame) -> str:
    """Say what acquiescence and correct are, and why one is unknown; empty without questions."""
    if not doses["acquiescence"].notna().any():
        return ""
    said = (
        'Acquiescence: change to alpha 0, within each cell, of the share of "true" at questions. '
        "Correct: the same of the recorded answer, macro average over true and false"
    )
    if doses["correct"].notna().any():
        return f"{said}."
    recorded = doses["correct_n_questions"].any()
    why = "the questions' answers are all the same" if recorded else "no answer is recorded"
    return f"{said}; unknown, as {why}."


def _unequal_sides(frame: pd.DataFrame, by: str) -> str:
    """Say in how many rows the two sides differ in KL; empty where doses are compared."""
    known = int((frame["first_kl"].notna() & frame["second_kl"].notna()).sum())
    if by == "alpha" or not known:
        return ""
    apart = (frame["first_kl_lower"] > frame["second_kl_upper"]) | (
        frame["second_kl_lower"] > frame["first_kl_upper"]
    )
    return (
        f" First kl, second kl: held-out KL of both sides in nats; it differs by more than both "
        f"95% intervals in {int(apart.sum())} of {known} rows, which compare unequal KL."
    )


def _over(distinct: bool) -> str:
    return "n_distinct trajectories, without repeats" if distinct else "all n trajectories"


def _pooled_windows(ds: xr.Dataset, metric: str, by: Sequence[str]) -> str:
    """A sentence where cells of several windows share a group, else nothing."""
    whole = validated(ds, metric)
    cells = whole.isel(cell=whole[METRICS[metric].flag].values == 1)
    windows = [
        set(cells["window"].values[places].tolist())
        for _, places in occurring(cells, split_by(cells, by))
    ]
    pooled = sorted(set().union(*(each for each in windows if len(each) > 1)))
    if not pooled:
        return ""
    return (
        f" Windows of {', '.join(map(str, pooled))} tokens are pooled; "
        "horizon is the largest observed at the dose."
    )


def _count_of_cells(n: int, n_distinct: int) -> str:
    repeats = f" ({n - n_distinct} repeat another to the byte)" if n > n_distinct else ""
    return f"Cells: n = {n}, distinct n = {n_distinct}{repeats}."
