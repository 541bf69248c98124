"""Figures of the page as data for the browser, thinned to what a panel can show."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from isoklx.plot.axes import FLOOR
from isoklx.plot.dose_axis import labelled, limits, scaled, side_steps
from isoklx.plot.dose_response import MOST_MARKS
from isoklx.plot.figure1_panels import KL_FLOOR
from isoklx.plot.palette import dose_colours, method_styles, on_light_and_dark
from isoklx.plot.scope import each_once, in_scope, split
from isoklx.plot.titles import dose, from_to, group_name
from isoklx.stats.groups import split_by
from isoklx.stats.trajectories import bands, default_roll, quantile
from isoklx.tables.calibration import HELD_OUT_RANGE

Figure = dict[str, Any]
Series = dict[str, Any]
Floats = npt.NDArray[np.floating[Any]]
Counts = npt.NDArray[np.integer[Any]]

POINTS = 240
"""Maximum points per line; a panel is hardly wider in pixels."""

DASHES = ("solid", "dashed", "dotted", "dotdash", "dashdot")

LETTER = 6.2 / 260
"""Width of a letter relative to the length of a dose axis in a narrow panel."""

FEW = 4
"""Maximum number of groups whose intervals are drawn as bands."""

ROWS = 60
"""Maximum number of cells in a figure with one row per cell."""

RESPONSES = {
    "survival": ("Alive at the horizon", "share of rollouts", (-0.03, 1.05)),
    "restricted_mean": ("Tokens until death", "restricted mean, tokens", (0, None)),
    "kl_p95": ("KL", "p95 of KL, nats", (None, None)),
    "share_above": ("Above the target", "share of tokens above target", (-0.03, 1.05)),
    "pmass": ("Valid answers", "mean pmass over forks", (-0.03, 1.05)),
    "pmass_end": ("Valid answers at the end", "pmass at the last fork", (-0.03, 1.05)),
    "acquiescence": ("Acquiescence", "change of p(true)", (None, None)),
    "correct": ("Right answers", "change of p(correct)", (None, None)),
    "repetition": ("Repetition", "worst share of repeated 3-grams", (-0.03, 1.05)),
}


@dataclass(frozen=True)
class Group:
    """Cells with common labels, drawn in one colour."""

    labels: tuple[Any, ...]
    name: str
    size: str
    colours: tuple[str, str]
    marker: str
    dash: str


def groups_of(table: xr.Dataset, by: Sequence[str]) -> list[Group]:
    """Return the groups of a statistic that have trajectories, each with its own look.

    `table` has ``n`` and ``n_distinct`` along `by` and ``alpha``; ``method`` is the last of `by`.
    """
    n, n_distinct = (table[name].transpose(*by, "alpha").values for name in ("n", "n_distinct"))
    there = {
        tuple(table[name].values[i] for name, i in zip(by, at, strict=True)): at
        for at in np.ndindex(n.shape[:-1])
        if n[at].any()
    }
    looks = method_looks([str(label[-1]) for label in there])
    models = list(dict.fromkeys(label[:-1] for label in there))
    return [
        Group(
            label,
            group_name(dict(zip(by, label, strict=True))),
            size(n[at][n[at] > 0], n_distinct[at][n[at] > 0]),
            looks[str(label[-1])]["colour"],
            looks[str(label[-1])]["marker"],
            DASHES[models.index(label[:-1]) % len(DASHES)],
        )
        for label, at in there.items()
    ]


def size(n: Counts, n_distinct: Counts) -> str:
    """Describe the numbers of distinct and of all trajectories, as ranges over the doses."""
    distinct, every = (from_to(each, " to ") for each in (n_distinct, n))
    return f"n = {distinct}" + f" of {every}" * bool((n != n_distinct).any())


MARKERS = {
    **{"o": "circle", "s": "square", "D": "diamond", "^": "triangle"},
    **{"v": "inverted_triangle", "<": "hex", ">": "star"},
}


def method_looks(methods: Iterable[str]) -> dict[str, Series]:
    """Return colour and marker of each method, whatever the other labels of its cells."""
    styles = method_styles(methods)
    return {
        name: {"colour": on_light_and_dark(colour), "marker": MARKERS[marker]}
        for name, (colour, marker) in styles.items()
    }


def responses(
    doses: xr.Dataset, groups: Sequence[Group], by: Sequence[str], targets: Sequence[float]
) -> Iterator[Figure]:
    """Yield the panels of the dose response: one per quantity, with one line per group."""
    if not doses.sizes["alpha"]:
        return
    axis = _dose_axis(doses["alpha"].values)
    steps = side_steps(doses["alpha"].values, len(groups))
    for name, (title, label, ends) in RESPONSES.items():
        panel = doses[[name, f"{name}_ci"]]
        level = 100 * panel[f"{name}_ci"].attrs.get("level", 0.95)
        panel = panel.isel(threshold=0) if "threshold" in panel.dims else panel
        if not panel[name].notnull().any():
            continue
        log = name == "kl_p95"
        low, high = _ends_of_log(panel, targets) if log else ends
        below = log and bool((panel[name] <= FLOOR).any())
        series: list[Series] = []
        for group, step in zip(groups, steps, strict=True):
            of_group = panel.sel(dict(zip(by, group.labels, strict=True)))
            bounds = of_group[f"{name}_ci"].transpose("alpha", "ci_bound").values
            at = scaled(of_group["alpha"].values) + step
            series += _response(group, at, of_group[name].values, bounds, low if log else None)
        yield {
            "title": f"{title} (triangles: below {FLOOR:g} nats)" if below else title,
            "x": axis,
            "y": {"label": label, "lo": low, "hi": high, "log": log},
            "series": [*series, *({"kind": "rule", "y": each} for each in targets if log)],
            "says": f"{title}: {label} by dose, with {level:.3g}% intervals, one line per group",
        }


def _response(
    group: Group, at: Floats, y: Floats, bounds: Floats, log_from: float | None
) -> list[Series]:
    """Return the line, marks and intervals of a group, or a line in a band if there are many doses.

    A logarithmic axis starts at `log_from`; values below the floor are marked at its edge.
    """
    look = {"colour": group.colours, "dash": group.dash}
    under = np.zeros(y.shape, bool)
    if log_from is not None:
        under, bounds = y <= FLOOR, np.maximum(bounds, FLOOR)
    there = np.isfinite(y) & ~under
    known = there & np.isfinite(bounds).all(axis=1)
    points = {"x": rounded(at[there]), "y": rounded(y[there])}
    interval = {
        "x": rounded(at[known]),
        "lo": rounded(bounds[known, 0]),
        "hi": rounded(bounds[known, 1]),
    }
    if y.size > MOST_MARKS:
        series: list[Series] = [{"kind": "band", **interval}, {"kind": "line", **points}]
    else:
        marks = {"kind": "points", "marker": group.marker, "name": group.name, **points}
        series = [{"kind": "line", **points}, {"kind": "whisker", **interval}, marks]
    if log_from is not None and under.any():
        edge = {"x": rounded(at[under]), "y": [1.3 * log_from] * int(under.sum())}
        series.append({"kind": "points", "marker": "inverted_triangle", **edge})
    return [{**each, **look} for each in series]


def _ends_of_log(panel: xr.Dataset, targets: Sequence[float]) -> tuple[float, float]:
    """Return the ends of a logarithmic KL axis that shows all values above the floor."""
    shown = np.concatenate([*(panel[name].values.ravel() for name in panel), targets])
    shown = shown[shown > FLOOR]
    if not shown.size:
        return FLOOR, 1.0
    return max(FLOOR, 0.6 * float(shown.min())), 1.6 * float(shown.max())


def _dose_axis(alphas: Floats) -> dict[str, Any]:
    """Return limits and ticks of the dose axis, on the scale of the paper figures."""
    texts = [f"{alpha:g}" for alpha in alphas.tolist()]
    kept = labelled(alphas, texts, LETTER)
    low, high = limits(alphas)
    return {
        "label": "dose alpha",
        "lo": low,
        "hi": high,
        "ticks": [[float(scaled(alphas[i])), texts[i]] for i in kept],
        "minor": rounded(scaled(np.delete(alphas, kept))),
    }


def figure1(ds: xr.Dataset, window: int | None) -> list[list[Figure]]:
    """Return one column per dose: KL per token above pmass at forks.

    Sides of a direction and temperatures have columns of their own.
    """
    ds = in_scope(ds, window=window)
    columns = [
        column
        for labels, cells in split(ds, split_by(ds))
        for column in _columns_of_side(cells, group_name(labels))
    ]
    return sorted(columns, key=lambda column: column[0]["alpha"])


def _columns_of_side(ds: xr.Dataset, side: str) -> list[list[Figure]]:
    """Return the columns of cells that may be pooled; `side` names them in the titles."""
    once = each_once(ds, (), distinct=True)
    drawn = once.drawn
    roll = default_roll(int(drawn["window"].max()))
    kl = bands(drawn["kl"], [0.1, 0.5, 0.9], roll).compute()
    pmass = quantile(drawn["pmass_eval"], [0.1, 0.5, 0.9]).compute()
    targets = np.unique(drawn["target_kl"].values[np.isfinite(drawn["target_kl"].values)])
    top = np.append(kl.sel(quantile=0.9).values, targets)
    top = top[np.isfinite(top)]
    linear, log = 1.1 * max(*targets, np.quantile(top, 0.98)), 1.15 * top.max()
    columns = []
    for i, (alpha, colour) in enumerate(dose_colours(drawn["alpha"].values).items()):
        n, n_distinct = (once.total[name].values[[i]] for name in ("n", "n_distinct"))
        x = {"label": "token", "lo": 0, "hi": int(drawn["window"].max())}
        of_kl = {
            "title": f"{', '.join(filter(None, (dose(alpha), side)))}, {size(n, n_distinct)}",
            "alpha": alpha,
            "x": x,
            "y": {"label": "KL, nats", "lo": 0, "hi": round(linear, 3)},
            "log": [KL_FLOOR, round(log, 3)],
            "series": [
                *_band(drawn["token"].values, kl.isel(alpha=i).values, on_light_and_dark(colour)),
                *({"kind": "rule", "y": target} for target in targets.tolist()),
            ],
            "says": f"KL per token at alpha {alpha:g}: median and p10 to p90 over rollouts",
        }
        of_pmass = {
            "title": "",
            "alpha": alpha,
            "low": True,
            "x": x,
            "y": {"label": "pmass", "lo": -0.04, "hi": 1.06},
            "series": _band(
                pmass["fork"].values,
                pmass.isel(alpha=i).values,
                on_light_and_dark(colour),
                marks=True,
            ),
            "says": f"pmass at forks at alpha {alpha:g}: median and p10 to p90 over rollouts",
        }
        columns.append([of_kl, of_pmass] if np.isfinite(pmass.values).any() else [of_kl])
    return columns


def _band(
    x: Floats, quantiles: Floats, colour: tuple[str, str], *, marks: bool = False
) -> list[Series]:
    """Return a band between the outer two of three quantiles, and a line at the middle one."""
    there = np.flatnonzero(np.isfinite(quantiles).all(axis=0))
    there = there[_evenly_spaced(there.size)]
    at, (low, middle, high) = rounded(x[there]), map(rounded, quantiles[:, there])
    series: list[Series] = [
        {"kind": "band", "x": at, "lo": low, "hi": high, "colour": colour},
        {"kind": "line", "x": at, "y": middle, "colour": colour, "width": 2.4},
    ]
    if marks:
        series.append(
            {"kind": "points", "x": at, "y": middle, "marker": "circle", "colour": colour}
        )
    return series


def survival(curves: xr.Dataset, groups: Sequence[Group], by: Sequence[str]) -> Iterator[Figure]:
    """Yield Kaplan-Meier curves with their intervals: one panel per dose, one line per group."""
    curves = curves.isel(threshold=0)
    few = len(groups) <= FEW
    apart = 0.05 if few else 0.02
    for alpha in curves["alpha"].values.tolist():
        of_dose = curves.sel(alpha=alpha)
        series: list[Series] = []
        horizon = int(of_dose["horizon"].max())
        n, n_distinct = (of_dose[name].values.sum(keepdims=True) for name in ("n", "n_distinct"))
        for i, group in enumerate(groups):
            one = of_dose.sel(dict(zip(by, group.labels, strict=True)))
            if not int(one["n"]):
                continue
            forks, last = one["fork"].values, int(one["observed_to"])
            there = (forks <= last) & one["survival"].notnull().values
            bounds = one["survival_ci"].transpose("ci_bound", "fork").values[:, there]
            x, (y, low, high) = _steps(forks[there], last, [one["survival"].values[there], *bounds])
            look = {"colour": group.colours, "dash": group.dash}
            at = [last + round((i + 1) * apart * horizon, 2)]
            if few:
                series.append({"kind": "band", "x": x, "lo": low, "hi": high, **look})
                # Offset marks: of coinciding curves only the last is visible.
                mark = {"marker": group.marker, "name": group.name}
                series.append({"kind": "points", "x": at, "y": y[-1:], **mark, **look})
            else:
                series.append({"kind": "whisker", "x": at, "lo": low[-1:], "hi": high[-1:], **look})
            series.append({"kind": "line", "x": x, "y": y, "width": 2.4, **look})
        if series:
            yield {
                "title": f"{dose(alpha)}, {size(n, n_distinct)}",
                "alpha": alpha,
                "x": {"label": "token", "lo": 0, "hi": horizon * (1 + apart * (len(groups) + 1))},
                "y": {"label": "share alive", "lo": -0.03, "hi": 1.05},
                "series": series,
                "says": f"Survival at alpha {alpha:g}, with 95% intervals, one line per group",
            }


def _steps(
    times: Floats, horizon: int, values: Iterable[Floats]
) -> tuple[list[Any], list[list[Any]]]:
    """Return the corners of curves that start at 1 and step down at `times`."""
    x = np.concatenate([[0], np.repeat(times, 2), [horizon]])
    corners = [np.concatenate([[1], [1], np.repeat(each, 2)]) for each in values]
    return rounded(x), [rounded(each[: x.size]) for each in corners]


def calibration_steps(ds: xr.Dataset, looks: dict[str, Series]) -> Figure | None:
    """Return the figure of p95 of KL against the coefficients that each calibration tried."""
    tried, kl = np.abs(ds["calib_coeff"].values), ds["calib_kl_p95"].values
    series: list[Series] = []
    seen: set[tuple[str, bytes, bytes]] = set()
    for i, (method, run_id) in enumerate(
        zip(ds["method"].values.tolist(), ds["run_id"].values.tolist(), strict=True)
    ):
        there = np.isfinite(tried[i]) & np.isfinite(kl[i]) & (tried[i] > 0) & (kl[i] > 0)
        key = (method, tried[i][there].tobytes(), kl[i][there].tobytes())
        if key in seen or not there.any() or len(seen) >= 5 * ROWS:
            continue  # duplicate calibrations coincide
        seen.add(key)
        order = np.argsort(tried[i][there], kind="stable")
        x, y = rounded(tried[i][there][order]), rounded(kl[i][there][order])
        at = {"x": x, "y": y, **looks[method]}
        series.append({"kind": "line", **at, "width": 1})
        series.append({"kind": "points", **at, "name": run_id})
    if not series:
        return None
    target = float(ds["target_kl"].max())
    return {
        "title": "Coefficients that the calibration tried",
        "x": {"label": "magnitude of the coefficient", "log": True},
        "y": {"label": "p95 of KL, nats", "log": True},
        "series": [*series, {"kind": "rule", "y": target}],
        "says": "p95 of KL against the coefficients that each calibration tried, and the target",
    }


def held_out(table: pd.DataFrame, looks: dict[str, Series]) -> Figure | None:
    """Return the figure of held-out p95 of KL at alpha 1 over the target, one row per cell."""
    rows = table[table["heldout_kl_p95"].notna() & (table["repeats"] == "")].head(ROWS)
    if rows.empty:
        return None
    series: list[Series] = [{"kind": "span", "lo": HELD_OUT_RANGE[0], "hi": HELD_OUT_RANGE[1]}]
    for i, row in enumerate(rows.to_dict("records")):
        look = {**looks[row["method"]], "y": [len(rows) - i - 0.5]}
        ratio, *bounds = (
            row[name] / row["target_kl"]
            for name in ("heldout_kl_p95", "heldout_lower", "heldout_upper")
        )
        if all(map(math.isfinite, bounds)):
            low, high = (rounded(np.array([each])) for each in bounds)
            series.append({"kind": "across", "lo": low, "hi": high, **look})
        point = {"kind": "points", "x": rounded(np.array([ratio])), "name": row["run_id"]}
        series.append({**point, **look})
    return {
        "title": "Held-out prompts",
        "x": {"label": "held-out p95 over the target", "lo": 0},
        "y": {"rows": rows["run_id"].tolist()},
        "series": series,
        "says": "Held-out p95 of KL over the target for each cell, with 95% intervals",
    }


def rounded(values: Floats) -> list[float | int | None]:
    """Round numbers to four significant digits; NaN becomes None."""
    if np.issubdtype(values.dtype, np.integer):
        return list(map(int, values.tolist()))
    return [
        None
        if not math.isfinite(value)
        else int(value)
        if value == int(value)
        else float(f"{value:.4g}")
        for value in values.tolist()
    ]


def _evenly_spaced(n: int) -> npt.NDArray[np.intp]:
    return np.unique(np.linspace(0, n - 1, min(n, POINTS)).round().astype(np.intp))
