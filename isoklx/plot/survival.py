"""Survival curves with their intervals, above the numbers at risk."""

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
"""Of a curve, in points."""

DASH = 3.0
"""Length of the dashes in which curves that coincide take turns, over the width of a curve."""

WHISKERS_APART, WHISKERS_WIDTH = 3.0, 9.0
"""Points from a curve's end to its whisker and from one to the next, and for all of them."""

SAME = 0.01
"""A difference in survival that cannot be seen."""

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
        As for `isoklx.survival`. There is a panel for each threshold and each group, each side of a
        direction or temperature of a group by itself; a group without trajectories has none.
    alphas : float or sequence of float, optional
        Doses to draw; by default all that were run, of more than 12 an even spread with 0, 1 and
        the extremes, which the note says.
    hue : str, optional
        A label of a cell, such as ``"method"``: curves of each in one panel, in colours of their
        own, the same for a method in every figure, and a panel for each dose. By default curves
        are those of doses.
    width : float or {"column", "page"}, optional
        Of the figure, in inches; a column is 3.3 and a page 7. By default that of the style's
        ``figure.figsize``, or what the panels would like. Words are smaller than the style's, down
        to 6 points, where else no panel would be left.
    title : bool or str
        Whether to write a title made from the data above it; or one of your own.
    subfigure : Figure or SubFigure, optional
        To draw into, instead of a new figure.

    Returns
    -------
    FacetGrid
        Its ``name_dicts`` say which ``threshold``, group or dose a panel is of, its ``data`` are
        the curves. A curve begins at token 0 with S = 1, holds its value until the next fork (token
        for KL), and ends with its last trajectory at risk, unless all are dead; a whisker there is
        its last interval. A stretch that curves share is drawn over once more, in dashes of their
        colours. Not saved; close it with ``matplotlib.pyplot.close(grid.fig)``.

    Raises
    ------
    DatasetError
        When `ds` is not a sweep, or there is nothing to draw.
    UsageError
        When a dose, metric, group or threshold cannot be, when panels would differ in three things,
        or when `hue` is in `by`.

    Examples
    --------
    >>> import isoklx
    >>> grid = survival(isoklx.open_sweep("data/sample"), threshold=[0.75, 0.95])
    >>> grid.axs.shape
    (1, 2)
    """
    if alphas is not None:
        ds = select_alphas(ds, np.sort(alphas, axis=None))
    whole = validated(ds, metric)
    if alphas is None:
        whole = few_doses(whole)
    has = np.flatnonzero(whole[METRICS[metric].flag].values == 1)
    wanted, hues = check_labels(by, whole), [] if hue is None else [hue]
    if hue in wanted:
        raise UsageError(f"hue={hue}: panels differ in it already; give it once")
    cells, rows = told_apart(whole.isel(cell=has), wanted, hues)
    curves = survival_curves.survival(
        cells, metric, threshold, [*rows, *hues], distinct, interval, ended
    ).compute()
    groups = [dim for dim in curves["n"].dims if dim != "alpha"]
    curves = curves.isel(alpha=(curves["n"] > 0).any(groups).values)
    if not curves.sizes["alpha"]:
        raise DatasetError(f"no trajectory of this sweep has {metric}, so there is nothing to draw")
    facets = _facets(curves, hue or "alpha")
    curves = curves.assign_attrs(
        figure="survival", hue=hue or "alpha", title=_title(curves, cells, hue)
    )
    curves.attrs["doses"] = doses_drawn(whole)
    apart = [*facets, hue or "alpha"]
    curves = curves.isel({dim: 0 for dim in ("threshold", *groups, "alpha") if dim not in apart})
    curves = curves.rename({METRICS[metric].time: "time"})
    curves.attrs["facets"] = [str(dim) for dim in facets]
    return draw_numbers(curves, Page(width, title, subfigure))


def draw_numbers(curves: xr.Dataset, paper: Page) -> Grid:
    """Draw what the ``data`` of an earlier figure are.

    Parameters
    ----------
    curves : Dataset
        What `isoklx.survival` returns, in memory, its ``fork`` or ``token`` renamed ``time``, with
        the attributes ``title``, ``facets`` and ``hue``.
    paper : Page

    Returns
    -------
    Grid
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
    """What the panels differ in: columns, then rows."""
    dims = ["threshold", *(dim for dim in curves["n"].dims if dim != "alpha"), "alpha"]
    dims.remove(hue)
    facets = [dim for dim in dims if curves.sizes[dim] > 1] or ["threshold"]
    if len(facets) > 2:
        names = ", ".join(map(str, facets))
        remedy = "one threshold, or fewer labels in by" + (", or one dose" * (hue != "alpha"))
        raise UsageError(f"panels can differ in two things, not in {names}: give {remedy}")
    return facets


def _draw_curves(ax: Axes, panel: xr.Dataset, page: SurvivalPage) -> list[Line2D]:
    panel = panel.where(panel["n"] > 0).transpose(page.hue, "ci_bound", "time")
    there = np.flatnonzero(panel["survival"].notnull().any("time").values)
    panel, looks = panel.isel({page.hue: there}), [page.looks[i] for i in there]
    forks = panel["time"].values
    tokens = np.append(0, forks)
    curves = _from_one(panel["survival"].values)
    intervals = _from_one(panel["survival_ci"].values)
    colours = [look["color"] for look in looks]
    lines = []
    for i, look in enumerate(looks):
        low, high = intervals[i]
        colour = look["color"]
        ax.fill_between(tokens, low, high, step="post", color=colour, alpha=0.14, linewidth=0)
        # A step to a token without an estimate would be drawn.
        known = np.flatnonzero(~np.isnan(curves[i]))[-1] + 1
        lines += ax.plot(
            tokens[:known],
            curves[i, :known],
            **look,
            markevery=[known - 1],
            markersize=4,
            drawstyle="steps-post",
            linewidth=WIDTH,
        )
        if panel["observed_to"].values[i] < panel["horizon"].values[i]:
            end = {"color": colour, "markerfacecolor": paper(), "markersize": 5}
            ax.plot(tokens[known - 1], curves[i, known - 1], "o", **end)
        ended = panel["censored"].values[i] > 0
        ax.plot(
            forks[ended], curves[i, 1:][ended], "|", color=colour, markersize=6, markeredgewidth=0.8
        )
    _show_coinciding(ax, tokens, curves, colours)
    _draw_last_intervals(ax, tokens, intervals, colours)
    return lines


def _from_one(values: Floats) -> Floats:
    """Values at forks, with S = 1 at token 0 before them."""
    return np.insert(values, 0, 1.0, axis=-1)


def _draw_last_intervals(
    ax: Axes, tokens: npt.NDArray[np.integer[Any]], intervals: Floats, colours: Sequence[str]
) -> None:
    """Draw a whisker right of the end of each curve, where its band has no width."""
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
    """Draw the stretches that curves share in dashes of all their colours, turn by turn."""
    # The interval from a token to the next has the value of the first.
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
