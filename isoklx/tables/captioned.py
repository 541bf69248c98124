"""Tables of a sweep with their keys and a caption that states n."""

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
    """Return `isoklx.headline_table`: the calibrated coefficient over seeds."""
    frame = headline_table(ds)
    n, n_distinct = count_cells(ds)
    caption = (
        f"Calibrated coefficient c_star by model, method and window. {_count_cells(n, n_distinct)} "
        "Mean over n_seeds seeds, standard deviation over n_distinct distinct calibrations."
    )
    averaged = n - int(frame["n_seeds"].sum())
    if averaged:
        cells = "cell shares its" if averaged == 1 else "cells share their"
        caption += f" {averaged} {cells} seed with another: cells of one seed are averaged first."
    return Table(frame, _columns_before(frame, "c_mean"), caption)


def survival(
    ds: xr.Dataset,
    metric: str = "pmass_eval",
    threshold: Sequence[float] | None = None,
    by: Sequence[str] | None = None,
    distinct: bool = True,
    interval: Interval = "auto",
    ended: Ended = "censored",
) -> Table:
    """Return `isoklx.survival_summary`: one row per threshold, group and dose."""
    frame = survival_summary(ds, metric, threshold, by, distinct, interval, ended)
    counted = frame["n_distinct" if distinct else "n"].to_numpy()
    interval_note = of_survival(interval, metric, counted, frame["n_prompts"].to_numpy(), ended)
    early = int((frame["observed_to"] < frame["horizon"]).sum())
    ends = (
        f" {early} of {len(frame)} curves end before the horizon, at observed_to." if early else ""
    )
    caption = (
        f"Kaplan-Meier survival by {metric}, times in tokens, over {_counted(distinct)}. "
        f"{interval_note}{ends}{_pooled_windows(ds, metric, by or ())}"
    )
    return Table(frame, _columns_before(frame, "n"), caption)


def contrast(
    ds: xr.Dataset,
    by: str = "method",
    metric: str = "pmass_eval",
    threshold: Sequence[float] | None = None,
    distinct: bool = True,
    ended: Ended = "censored",
) -> Table:
    """Return `isoklx.survival_contrast`: one row per threshold, dose and pair."""
    frame = survival_contrast(ds, by, metric, threshold, distinct, ended)
    caption = (
        f"Difference in survival by {metric}, first minus second {by}: at the horizon, and of the "
        f"restricted mean in tokens. Over {_counted(distinct)}. {of_difference(metric, ended)} The "
        "log-rank test assumes independent trajectories; p_holm is adjusted for all rows of this "
        "table."
    )
    return Table(frame, _columns_before(frame, "n"), f"{caption}{_unequal_kl(frame, by)}")


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
    """Return `isoklx.safe_dose`: one row per threshold and group."""
    frame = safe_dose(ds, by, survive, confidence, metric, threshold, distinct, ended)
    caption = (
        "Safe dose: the tested alpha farthest from 0 at which, and at every tested alpha nearer to "
        f"0, the one-sided lower {100 * confidence:.12g}% bound of survival by {metric} is at "
        f"least {survive:.12g}. Over {_counted(distinct)}. Bounds: beta product over prompts. "
        "Doses are tested outwards from 0 until the first failure. Observed dose: the tested alpha "
        "farthest from 0 up to which no trajectory died."
    )
    if (frame["toward"] == "-").any():
        caption += " toward: positive (+) and negative (-) doses are tested separately."
    return Table(frame, _columns_before(frame, "safe_dose"), caption)


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
    """Return `isoklx.dose_response` as rows, with lower and upper bounds as columns."""
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
    interval_note = of_survival(
        interval, metric, counted, frame["n_prompts"].to_numpy(), ended, level
    )
    statistic = doses["heldout_kl"].attrs["target_stat"]
    frame = frame.assign(target_stat=statistic)
    sentences = [
        f"Effect of each dose: survival by {metric}, times in tokens, KL in nats. Over "
        f"{_counted(distinct)}. {interval_note} All other intervals: 95%, over prompts; those of "
        "acquiescence and correct over questions.",
        f"Held-out KL: {statistic} over tokens.",
        said_of_kl(frame, statistic),
        define_answers(frame),
    ]
    return Table(frame, keys, " ".join(filter(None, sentences)))


def calibration(ds: xr.Dataset) -> Table:
    """Return `isoklx.calibration_table`: one row per cell."""
    frame = calibration_table(ds)
    n_distinct = int((frame["repeats"] == "").sum())
    lowest, highest = HELD_OUT_RANGE
    caption = (
        f"Calibration of each cell. {_count_cells(len(frame), n_distinct)} KL is in nats. "
        f"converged: p95 of KL at the last calibration step is within {TOLERANCE} of the target. "
        "pinned: not converged, and c_star is at a limit of the range tried. heldout_in_range: the "
        "95% interval (Woodruff, over prompts) of held-out p95 at alpha 1 is inside (yes), outside "
        f"(no) or partly inside (unclear) the range of {lowest} to {highest} times the target. "
        "kl_p95_mismatch: relative difference of recorded and recomputed p95. coeff_mismatch: that "
        "of coeff and alpha * c_star. More than rounding means that the files of a cell disagree. "
        "c_star_tried: the calibration tried c_star. calib_newer: calib.json is newer than the "
        "results, which may then belong to an earlier calibration."
    )
    return Table(frame, CALIBRATION_KEYS, caption)


def _columns_before(frame: pd.DataFrame, column: str) -> tuple[str, ...]:
    """Return the columns before `column`: the keys of the rows."""
    return tuple(map(str, frame.columns[: frame.columns.get_loc(column)]))


def define_answers(doses: pd.DataFrame) -> str:
    """Define acquiescence and correct, and say why correct is missing; empty without questions."""
    if not doses["acquiescence"].notna().any():
        return ""
    said = (
        'Acquiescence: change from alpha 0, within each cell, of the share of "true" at questions. '
        "Correct: the same for the recorded answer, macro-averaged over true and false questions"
    )
    if doses["correct"].notna().any():
        return f"{said}."
    recorded = doses["correct_n_questions"].any()
    why = "all recorded answers are the same" if recorded else "no answers are recorded"
    return f"{said}; missing because {why}."


def _unequal_kl(frame: pd.DataFrame, by: str) -> str:
    """Count the rows in which the sides differ in KL; empty if doses are compared."""
    known = int((frame["first_kl"].notna() & frame["second_kl"].notna()).sum())
    if by == "alpha" or not known:
        return ""
    apart = (frame["first_kl_lower"] > frame["second_kl_upper"]) | (
        frame["second_kl_lower"] > frame["first_kl_upper"]
    )
    return (
        " first_kl, second_kl: held-out KL of both sides in nats. Rows whose two 95% "
        f"intervals do not overlap compare unequal KL: {int(apart.sum())} of {known}."
    )


def _counted(distinct: bool) -> str:
    return "n_distinct trajectories, without duplicates" if distinct else "all n trajectories"


def _pooled_windows(ds: xr.Dataset, metric: str, by: Sequence[str]) -> str:
    """Name the windows that share a group; empty if none do."""
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


def _count_cells(n: int, n_distinct: int) -> str:
    duplicates = f" ({n - n_distinct} byte-identical duplicates)" if n > n_distinct else ""
    return f"Cells: {n}, distinct: {n_distinct}{duplicates}."
