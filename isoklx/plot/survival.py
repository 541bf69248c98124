"""Figure of survival: curves with their intervals above the numbers at risk."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation

from isoklx.errors import DatasetError, UsageError
from isoklx.plot.layout import Grid, closed_on_error
from isoklx.plot.page import AnyFigure, Page, Width
from isoklx.plot.palette import paper
from isoklx.plot.scope import doses_drawn, few_doses, told_apart
from isoklx.plot.survival_page import SurvivalPage
from isoklx.plot.titles import death, described, dose, trajectories, typeset
from isoklx.stats import survival as survival_curves
from isoklx.stats.endpoint import METRICS, Ended, validated
from isoklx.stats.groups import check_labels
from isoklx.stats.kernels.kaplan_meier import Interval
from isoklx.stats.selection import select_alphas

WIDTH = 1.8
"""Width of a curve in points."""

DASH = 3.0
"""Length of the alternating dashes of coinciding curves, in widths of a curve."""

WHISKERS_APART, WHISKERS_WIDTH = 3.0, 9.0
"""Maximum distance between whiskers in points, and the width of all whiskers together."""

SAME = 0.01
"""Difference in survival below which curves coincide."""

Floats = npt.NDArray[np.floating[Any]]


def survival(
    ds: xr.Dataset,
    *,
    metric: str = "pmass_eval",
    threshold: float | Sequence[float] | None = None,
    by: str | Sequence[str] | None = None,
    distinct: bool = True,
    interval: Interval = "auto",
    ended: Ended = "censored",
    alphas: float | Sequence[float] | None = None,
    hue: str | None = None,
    width: Width | None = None,
    title: bool | str = True,
    subfigure: AnyFigure | None = None,
) -> Grid:
    """Draw Kaplan-Meier survival per dose, with 95% intervals and the numbers at risk.

    Parameters
    ----------
    ds : Dataset
        A sweep or any selection of it.
    metric, threshold, by, distinct, interval, ended
        As in `isoklx.survival`. There is a panel for each threshold and each group with
        trajectories. The two sides of a direction and different temperatures are separate groups.
    alphas : float or sequence of float, optional
        Doses to draw. By default all doses that were run; if there are more than 12, evenly spaced
        ones with 0, 1 and the extremes, as the note states.
    hue : str, optional
        Label of a cell, such as ``"method"``: draw a curve for each value, coloured by label (a
        method has the same colour in every figure), and a panel for each dose. By default there is
        a curve for each dose.
    width : float or {"column", "page"}, optional
        Width of the figure in inches; a column is 3.3 and a page 7. By default the style's
        ``figure.figsize``, or as wide as the panels need. If panels would become too narrow, the
        style's font size is reduced, down to 6 points.
    title : bool or str
        Write a title made from the data, or this text.
    subfigure : Figure or SubFigure, optional
        Draw into this instead of a new figure.

    Returns
    -------
    FacetGrid
        ``name_dicts`` gives the ``threshold``, group or dose of each panel, ``data`` the curves. A
        curve begins at token 0 with S = 1, keeps its value until the next fork (or token, for KL),
        and ends with its last trajectory at risk unless all are dead. The whisker at its end is
        its last interval. Coinciding curves are drawn in alternating dashes of their colours. Not
        saved; close it with ``matplotlib.pyplot.close(grid.fig)``.

    Raises
    ------
    DatasetError
        If `ds` is not a sweep, or there is nothing to draw.
    UsageError
        If a dose, metric, group or threshold is invalid, panels would differ in three dimensions,
        or `hue` is in `by`.

    Examples
    --------
    >>> import isoklx
    >>> grid = survival(isoklx.open_sweep("data/sample"), threshold=[0.75, 0.95])
    >>> grid.axs.shape
    (1, 2)
    """
    if alphas is not None:
        ds = select_alphas(ds, np.sort(alphas, axis=None))
    valid = validated(ds, metric)
    if alphas is None:
        valid = few_doses(valid)
    has = np.flatnonzero(valid[METRICS[metric].flag].values == 1)
    wanted, hues = check_labels(by, valid), [] if hue is None else [hue]
    if hue in wanted:
        raise UsageError(f"hue={hue} is also in by; give it once")
    cells, rows = told_apart(valid.isel(cell=has), wanted, hues)
    curves = survival_curves.survival(
        cells, metric, threshold, [*rows, *hues], distinct, interval, ended
    ).compute()
    groups = [dim for dim in curves["n"].dims if dim != "alpha"]
    curves = curves.isel(alpha=(curves["n"] > 0).any(groups).values)
    if not curves.sizes["alpha"]:
        raise DatasetError(f"nothing to draw: no trajectory of this sweep has {metric}")
    facets = _facets(curves, hue or "alpha")
    curves = curves.assign_attrs(
        figure="survival", hue=hue or "alpha", title=_title(curves, cells, hue)
    )
    curves.attrs["doses"] = doses_drawn(valid)
    apart = [*facets, hue or "alpha"]
    curves = curves.isel({dim: 0 for dim in ("threshold", *groups, "alpha") if dim not in apart})
    curves = curves.rename({METRICS[metric].time: "time"})
    curves.attrs["facets"] = [str(dim) for dim in facets]
    return draw_numbers(curves, Page(width, title, subfigure))


def draw_numbers(curves: xr.Dataset, paper: Page) -> Grid:
    """Draw curves of `isoklx.survival` with attributes ``title``, ``facets`` and ``hue``.

    Their dimension ``fork`` or ``token`` must be renamed to ``time``.
    """
    page = SurvivalPage(curves, list(np.atleast_1d(curves.attrs["facets"])), paper)
    grid = page.empty_grid()
    with closed_on_error(grid, paper):
        for ax, name in zip(grid.axs.flat, grid.name_dicts.flat, strict=True):
            panel = None if name is None else curves.sel(name)
            if panel is None or not panel["n"].any():
                ax.set_visible(False)
                continue
            page.set_axes(ax, name)
            page.label_ends(ax, _draw_curves(ax, panel, page))
            page.count_at_risk(ax, panel)
        typeset(grid.fig)
    return grid


def _title(curves: xr.Dataset, cells: xr.Dataset, hue: str | None) -> str:
    thresholds, alphas = curves["threshold"].values, curves["alpha"].values
    threshold = f"{thresholds.item():g}" if thresholds.size == 1 else "threshold"
    groups = [dim for dim in curves["n"].dims if dim != "alpha"]
    at = f" at {dose(alphas.item())}" if hue is not None and alphas.size == 1 else ""
    what = f"Survival{at}: dead once {death(curves.attrs['metric'], threshold)}"
    total = curves[["n", "n_distinct"]].sum(groups)
    return described(cells, what, size=trajectories(total))


def _facets(curves: xr.Dataset, hue: str) -> list[Hashable]:
    """Return the dimensions that the panels differ in: columns, then rows."""
    dims = ["threshold", *(dim for dim in curves["n"].dims if dim != "alpha"), "alpha"]
    dims.remove(hue)
    facets = [dim for dim in dims if curves.sizes[dim] > 1] or ["threshold"]
    if len(facets) > 2:
        names = ", ".join(map(str, facets))
        remedy = "one threshold, or fewer labels in by" + (", or one dose" * (hue != "alpha"))
        raise UsageError(f"panels can differ in at most two dimensions, got {names}; give {remedy}")
    return facets


def _draw_curves(ax: Axes, panel: xr.Dataset, page: SurvivalPage) -> list[Line2D]:
    panel = panel.where(panel["n"] > 0).transpose(page.hue, "ci_bound", "time")
    shown = np.flatnonzero(panel["survival"].notnull().any("time").values)
    panel, looks = panel.isel({page.hue: shown}), [page.looks[i] for i in shown]
    forks = panel["time"].values
    tokens = np.append(0, forks)
    curves = _prepend_one(panel["survival"].values)
    intervals = _prepend_one(panel["survival_ci"].values)
    colours = [look["color"] for look in looks]
    lines = []
    for i, look in enumerate(looks):
        low, high = intervals[i]
        colour = look["color"]
        ax.fill_between(tokens, low, high, step="post", color=colour, alpha=0.14, linewidth=0)
        # Cut at the last estimate: otherwise a step to the token after it would be drawn.
        length = np.flatnonzero(~np.isnan(curves[i]))[-1] + 1
        lines += ax.plot(
            tokens[:length],
            curves[i, :length],
            **look,
            markevery=[length - 1],
            markersize=4,
            drawstyle="steps-post",
            linewidth=WIDTH,
        )
        if panel["observed_to"].values[i] < panel["horizon"].values[i]:
            end = {"color": colour, "markerfacecolor": paper(), "markersize": 5}
            ax.plot(tokens[length - 1], curves[i, length - 1], "o", **end)
        ended = panel["censored"].values[i] > 0
        ax.plot(
            forks[ended], curves[i, 1:][ended], "|", color=colour, markersize=6, markeredgewidth=0.8
        )
    _show_coinciding(ax, tokens, curves, colours)
    _draw_last_intervals(ax, tokens, intervals, colours)
    return lines


def _prepend_one(values: Floats) -> Floats:
    """Insert S = 1 at token 0 before the values at the forks."""
    return np.insert(values, 0, 1.0, axis=-1)


def _draw_last_intervals(
    ax: Axes, tokens: npt.NDArray[np.integer[Any]], intervals: Floats, colours: Sequence[str]
) -> None:
    """Draw the last interval of each curve as a whisker right of its end."""
    last = [np.flatnonzero(~np.isnan(low))[-1] for low, _ in intervals]
    ends = [interval[:, i] for interval, i in zip(intervals, last, strict=True)]
    drawn = [i for i, (low, high) in enumerate(ends) if low < high]
    apart = min(WHISKERS_APART, WHISKERS_WIDTH / max(len(drawn), 1))
    for place, i in enumerate(drawn, start=1):
        beside = ScaledTranslation(place * apart / 72, 0, ax.figure.dpi_scale_trans)
        ax.plot(
            [tokens[last[i]]] * 2,
            ends[i],
            color=colours[i],
            linewidth=1,
            marker="_",
            markersize=apart,
            transform=ax.transData + beside,
            clip_on=False,
        )


def _show_coinciding(
    ax: Axes, tokens: npt.NDArray[np.integer[Any]], curves: Floats, colours: Sequence[str]
) -> None:
    """Draw coinciding stretches of curves in alternating dashes of their colours."""
    # The step from one token to the next has the value at the first.
    same = (np.abs(curves[:, np.newaxis, :-1] - curves[:, :-1]) < SAME) & (np.diff(tokens) > 0)
    known = ~np.isnan(curves[:, 1:])
    same &= known & known[:, np.newaxis]
    together = same.sum(axis=1)
    turn = np.array([same[i, :i].sum(axis=0) for i in range(len(curves))])
    for i, colour in enumerate(colours):
        changes = (np.diff(together[i]) != 0) | (np.diff(turn[i]) != 0)
        for start, end in pairwise([0, *np.flatnonzero(changes) + 1, len(tokens) - 1]):
            n = int(together[i, start])
            if n < 2:
                continue
            ax.plot(
                tokens[start : end + 1],
                np.append(curves[i, start:end], curves[i, end - 1]),
                color=colour,
                drawstyle="steps-post",
                linewidth=WIDTH,
                linestyle=(DASH * (n - int(turn[i, start])), (DASH, DASH * (n - 1))),
                dash_capstyle="butt",
            )
