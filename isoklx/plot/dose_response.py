"""The dose figure: survival, KL and more against alpha, and the safe doses."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any, get_args

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.axes._secondary_axes import SecondaryAxis
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, PercentFormatter

from isoklx.errors import UsageError
from isoklx.plot.axes import DASHED, FLOOR, set_log_ticks
from isoklx.plot.dose_axis import labelled, limits, scaled, side_steps, unscaled
from isoklx.plot.dose_numbers import (
    DOTTED,
    RING,
    Group,
    groups_of,
    legend_entries,
    legend_labels,
    numbers,
)
from isoklx.plot.layout import Grid, say_why_empty
from isoklx.plot.page import LINE, AnyFigure, Page, Width, columns_of, letters_in, points, wide
from isoklx.plot.palette import ink
from isoklx.plot.titles import ALPHA, death, tick_label, typeset
from isoklx.stats.endpoint import Ended
from isoklx.stats.kernels.kaplan_meier import Interval
from isoklx.stats.quantities import Shown
from isoklx.stats.selection import select_alphas

PAGE_WIDTH = 7.0

Floats = npt.NDArray[np.floating[Any]]

NARROWEST, WIDEST, HEIGHT = 2.1, 3.3, 1.9
"""Width and height of a panel in inches; the height excludes the labels below."""

MOST_MARKS = 24
"""Number of doses above which a line and a band replace marks and bars."""

WORDS = 0.65
"""Width of the y axis labels in inches."""


def dose_response(
    ds: xr.Dataset,
    *,
    show: Shown | Sequence[Shown] = ("survival", "kl_p95"),
    by: str | Sequence[str] | None = "method",
    metric: str = "pmass_eval",
    threshold: float | Sequence[float] | None = None,
    survive: float = 0.9,
    confidence: float = 0.95,
    distinct: bool = True,
    interval: Interval = "auto",
    ended: Ended = "censored",
    alphas: float | Sequence[float] | None = None,
    width: Width | None = None,
    title: bool | str = True,
    subfigure: AnyFigure | None = None,
) -> Grid:
    """Draw the effects of each dose, a line with 95% intervals per group, and the safe doses.

    Parameters
    ----------
    ds : Dataset
        A sweep or any selection of it.
    show : str or sequence of str
        Quantities of `isoklx.dose_response`, a panel for each: ``"survival"`` (at the horizon),
        ``"restricted_mean"`` (in tokens), ``"kl_p95"``, ``"share_above"`` (share of tokens above
        the target), ``"pmass"`` (mean over forks), ``"pmass_end"`` (at the last fork of each
        rollout), ``"acquiescence"`` and ``"correct"`` (changes of the answers), ``"repetition"``.
    by : str or sequence of str, optional
        Labels of a cell: draw a line for each group. By default the method.
    metric, threshold
        As in `isoklx.dose_response`. Survival has a panel for each threshold.
    survive, confidence
        As in `isoklx.safe_dose`. Safe doses are ringed and listed in the legend. The lower end of
        the survival interval is the bound that defines them.
    distinct, interval, ended
        As in `isoklx.dose_response`.
    alphas : float or sequence of float, optional
        Doses; by default all doses that were run. The safe dose is chosen from these.
    width : float or {"column", "page"}, optional
        Width of the figure in inches; a column is 3.3 and a page 7. Panels that do not fit continue
        in further rows. By default the style's ``figure.figsize``, or as wide as the panels need.
    title : bool or str
        Write a title made from the data, or this text.
    subfigure : Figure or SubFigure, optional
        Draw into this instead of a new figure.

    Returns
    -------
    FacetGrid
        ``name_dicts`` gives the quantity ``shown`` in each panel (and ``threshold``, if there are
        several), ``data`` the numbers drawn. The dose axis is linear near 0 and logarithmic beyond
        (asinh(alpha / 0.25)); the marks of several groups stand side by side at their dose. If all
        cells have the same coefficient at each dose, to three digits, an axis at the top shows it.
        Not saved; close it with ``matplotlib.pyplot.close(grid.fig)``.

    Raises
    ------
    DatasetError
        If `ds` is not a sweep, or there is nothing to draw.
    UsageError
        If an option is out of range, or a dose, metric, group or threshold is invalid.

    Examples
    --------
    >>> import isoklx
    >>> grid = dose_response(isoklx.open_sweep("data/sample"), show=["survival", "correct"])
    >>> [name["shown"] for name in grid.name_dicts.flat]
    ['survival', 'correct']
    """
    page = Page(width, title, subfigure)
    shown = check_shown(show)
    if alphas is not None:
        ds = select_alphas(ds, np.unique(alphas))
    how: dict[str, Any] = {"metric": metric, "threshold": threshold, "distinct": distinct}
    drawn = numbers(ds, shown, by, survive, confidence, interval, {**how, "ended": ended})
    return draw_numbers(drawn, page)


def check_shown(show: str | Sequence[str]) -> list[str]:
    """Check the quantities to show, and drop duplicates."""
    shown = list(dict.fromkeys([show] if isinstance(show, str) else show))
    available = ", ".join(get_args(Shown))
    for each in shown:
        if each not in get_args(Shown):
            raise UsageError(f"show must be any of {available}, got {each!r}")
    if not shown:
        raise UsageError(f"show must name at least one of {available}")
    return shown


def draw_numbers(drawn: xr.Dataset, page: Page) -> Grid:
    """Draw the figure from its numbers: quantities with their intervals, and the safe doses."""
    names = _panel_names(drawn)
    wanted = min(WIDEST * len(names), PAGE_WIDTH)
    inches = page.inches(wanted)
    n_columns = max(1, min(len(names), math.floor(inches / NARROWEST)))
    n_rows = -(-len(names) // n_columns)
    groups = groups_of(drawn)
    labels = legend_labels(drawn, groups, letters_in(inches - 0.4, points("legend")))
    entries = legend_entries(drawn, groups, labels)
    columns = columns_of([str(each.get_label()) for each in entries], inches, points("legend"))
    note = _wrapped(drawn.attrs["note"], inches)
    height = n_rows * (HEIGHT + 0.35 * ("coeff" in drawn) + 0.2 * (drawn.sizes["threshold"] > 1))
    tallest = max(label.count("\n") + 1 for label in labels)
    height += -(-len(entries) // columns) * tallest * LINE * points("legend") / 72 + 0.1
    height += (note.count("\n") + 1) * LINE * points("note") / 72
    figure = page.new(wanted, height + page.title_height(drawn.attrs["title"], wanted))
    try:
        axs = figure.subplots(n_rows, n_columns, squeeze=False)
        for ax, name in zip(axs.flat, names, strict=False):
            _draw_panel(ax, drawn, name, groups, inches / n_columns)
        for ax in axs.flat[len(names) :]:
            ax.set_visible(False)
        full = np.full(axs.size, None, dtype=object)
        full[: len(names)] = names
        grid = Grid(drawn, full.reshape(axs.shape), figure, axs)
        _put_legend(grid, entries, note, columns)
        page.put_title(figure, drawn.attrs["title"])
        typeset(figure)
    except BaseException:
        if page.subfigure is None:
            plt.close(figure)  # type: ignore[arg-type]
        raise
    return grid


def _panel_names(drawn: xr.Dataset) -> list[dict[str, Any]]:
    """Return the quantity, and threshold if there are several, of each panel."""
    several = drawn.sizes["threshold"] > 1
    names: list[dict[str, Any]] = []
    for shown in drawn["shown"].values.tolist():
        if several and "threshold" in drawn[shown].dims:
            thresholds = drawn["threshold"].values.tolist()
            names += [{"shown": shown, "threshold": each} for each in thresholds]
        else:
            names.append({"shown": shown})
    return names


def _draw_panel(
    ax: Axes, drawn: xr.Dataset, name: dict[str, Any], groups: Sequence[Group], inches: float
) -> None:
    shown = name["shown"]
    values, bounds = drawn[shown], drawn[f"{shown}_ci"]
    if "threshold" in values.dims:
        at = {"threshold": name.get("threshold", drawn["threshold"].values[0])}
        values, bounds = values.sel(at), bounds.sel(at)
    below = xr.zeros_like(values, bool)
    if shown == "kl_p95":
        below = values <= FLOOR
        values, bounds = values.where(~below), bounds.where(~below)
    doses = drawn["alpha"].values
    for group, step in zip(groups, side_steps(doses, len(groups)), strict=True):
        x = unscaled(scaled(doses) + step)
        _draw_group(ax, x, values.sel(group.labels), bounds.sel(group.labels), group)
        _mark_safe(ax, drawn, x, values, name, group)
        under = x[below.sel(group.labels).values]
        edge = ax.get_xaxis_transform()
        style = {"color": group.style["color"], "marker": "v", "markersize": 3, "linestyle": "none"}
        ax.plot(under, np.full(under.size, 0.02), transform=edge, gid="below", **style)
    _set_axes(ax, drawn, name, inches)
    if not (values.notnull() | below).any():
        say_why_empty(ax, "not measured")


def _draw_group(
    ax: Axes, x: Floats, values: xr.DataArray, bounds: xr.DataArray, group: Group
) -> None:
    known = values.notnull().values
    x, height = x[known], values.values[known]
    lower, upper = (bounds.sel(ci_bound=bound).values[known] for bound in ("lower", "upper"))
    colour, few = group.style["color"], values.sizes["alpha"] <= MOST_MARKS
    size = 3.5 if few else 0
    ax.plot(x, height, markersize=size, linewidth=1.1, label=group.name, **group.style)
    if few:
        ax.vlines(x, lower, upper, color=colour, linewidth=0.9, alpha=0.8)
    else:
        ax.fill_between(x, lower, upper, color=colour, linewidth=0, alpha=0.2)


def _mark_safe(
    ax: Axes,
    drawn: xr.Dataset,
    x: Floats,
    values: xr.DataArray,
    name: dict[str, Any],
    group: Group,
) -> None:
    """Put a ring around the group's mark at the safe dose of each side."""
    threshold = name.get("threshold", drawn["threshold"].values[0])
    safe = drawn["safe_dose"].sel(group.labels | {"threshold": threshold}).values
    for dose in np.unique(safe[~np.isnan(safe)]):
        at = int(np.flatnonzero(drawn["alpha"].values == dose)[0])
        ax.plot(
            x[at],
            float(values.sel(group.labels)[at]),
            color=group.style["color"],
            gid="safe",
            **RING,
            # A ring at a survival of 1 extends beyond the axis.
            clip_on=False,
        )


def _set_axes(ax: Axes, drawn: xr.Dataset, name: dict[str, Any], inches: float) -> None:
    shown, size = name["shown"], points("tick")
    alphas = drawn["alpha"].values
    ax.set_xscale("function", functions=(scaled, unscaled))
    ax.set_xlim(*unscaled(limits(alphas)))
    _set_ticks(ax, alphas, [f"{alpha:g}" for alpha in alphas], inches)
    ax.set_xlabel(ALPHA, fontsize=points("label"))
    ax.set_ylabel(_y_label(drawn, name), fontsize=points("label"))
    ax.tick_params(labelsize=size)
    ax.spines[["top", "right"]].set_visible(False)
    if "coeff" in drawn:
        top = ax.secondary_xaxis("top")
        top.set_xscale("function", functions=(scaled, unscaled))
        _set_ticks(top, alphas, [f"{coeff:.3g}" for coeff in drawn["coeff"].values], inches)
        top.set_xlabel("coefficient", fontsize=points("label"))
        top.tick_params(labelsize=size)
    if "threshold" in name:
        text = death(str(drawn.attrs["metric"]), f"{name['threshold']:g}")
        ax.set_title(f"dead once {text}", fontsize=points("panel"))
    _scale(ax, drawn, shown)


def _set_ticks(
    ax: Axes | SecondaryAxis, alphas: Floats, texts: Sequence[str], inches: float
) -> None:
    """Put a tick at each dose, and a label if there is room for it."""
    kept = labelled(alphas, texts, wide("0", points("tick")) / (inches - WORDS))
    others = np.delete(alphas, kept)
    ax.set_xticks(alphas[kept], [tick_label(texts[i]) for i in kept])
    ax.xaxis.set_minor_locator(FixedLocator(others.tolist()))


def _scale(ax: Axes, drawn: xr.Dataset, shown: str) -> None:
    """Set the limits of the y axis, and draw the reference lines."""
    if shown in ("survival", "pmass", "pmass_end", "repetition"):
        ax.set_ylim(-0.04, 1.05)
        ax.set_yticks([0, 0.5, 1])
    if shown == "survival":
        ax.axhline(float(drawn["survive"]), color=ink(), **DOTTED)
    if shown == "share_above":
        ax.set_ylim(bottom=0)
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=tick_label("%")))
    if shown == "restricted_mean":
        ax.set_ylim(0, 1.05 * float(drawn["horizon"].max()))
    if shown in ("acquiescence", "correct") and drawn[shown].notnull().any():
        ax.axhline(0, color=ink(), alpha=0.5, linewidth=0.7)
    if shown == "kl_p95":
        ax.set_yscale("log")
        for target in drawn["target_kl"].values:
            ax.axhline(target, color=ink(), **DASHED)
        low, high = ax.get_ylim()
        low = max(low, FLOOR)
        ax.set_ylim(low, high)
        set_log_ticks(ax.yaxis)


def _y_label(drawn: xr.Dataset, name: dict[str, Any]) -> str:
    horizon = np.unique(drawn["horizon"].values[drawn["n"].values > 0])
    ends = f"at token {horizon[0]:g}" if horizon.size == 1 else "at the horizon"
    answers = "pmass" if drawn.attrs["metric"] == "pmass" else "pmass_eval"
    words = {
        "survival": f"alive {ends}",
        "restricted_mean": "tokens alive, mean",
        "kl_p95": "p95 of KL (nats)",
        "share_above": "tokens above target",
        "pmass": f"{answers}, mean",
        "pmass_end": f"{answers}, last fork",
        "acquiescence": "change of p_true",
        "correct": "change of p(correct)",
        "repetition": "repetition",
    }
    return words[name["shown"]]


def _wrapped(note: str, inches: float) -> str:
    letters = letters_in(inches - 0.1, points("note"))
    return "\n".join(textwrap.wrap(note, letters, break_on_hyphens=False))


def _put_legend(grid: Grid, entries: Sequence[Line2D], note: str, columns: int) -> None:
    """Put the legend below all panels, with the note as its title."""
    grid.figlegend = grid.fig.legend(
        handles=list(entries),
        loc="outside lower center",
        ncols=columns,
        fontsize=points("legend"),
        title=note,
        title_fontsize=points("note"),
        frameon=False,
    )
