"""Figure 1: KL token by token, and below it pmass at the forks, one column per dose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy.typing as npt
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.lines import Line2D

from isoklx.errors import DatasetError, UsageError
from isoklx.plot import palette
from isoklx.plot.bands import band_legend, draw_band, levels
from isoklx.plot.facets import (
    Grid,
    closed_on_error,
    facets,
    label_row,
    note_sizes,
    put_legend,
    put_title,
    row_name,
)
from isoklx.plot.fork_panels import asked, draw_forks, forks_legend
from isoklx.plot.limits import Extent, check_ymax, limit
from isoklx.plot.lines import Strokes
from isoklx.plot.palette import dose_colours
from isoklx.plot.reference_lines import draw_mark, draw_target
from isoklx.plot.scope import each_once, groups, how_smoothed, in_scope
from isoklx.plot.spaghetti import draw_spaghetti, spaghetti_legend, unknown_legend
from isoklx.plot.titles import trajectories
from isoklx.plot.typesetting import typeset
from isoklx.stats.along import check_count
from isoklx.stats.kernels.smoothing import Edges
from isoklx.stats.trajectories import bands, default_roll

Kind = Literal["band", "fan", "spaghetti"]
Panels = npt.NDArray[Any]

KL_HEIGHT, PMASS_HEIGHT = 1.6, 0.9
"""Of a row, in inches."""


def figure1(
    ds: xr.Dataset,
    *,
    kind: Kind = "band",
    alphas: float | Sequence[float] | None = None,
    window: int | None = None,
    by: str | None = None,
    roll: int | None = None,
    edges: Edges = "shrink",
    distinct: bool = True,
    kl_ymax: float | Literal["auto"] = 6.0,
    log: bool = False,
    kl_only: bool = False,
    mark_t: int | None = None,
    color_by_pmass: bool = False,
    line_alpha: float | None = None,
    line_lw: float | None = None,
    median_lw: float = Strokes.median_lw,
) -> Grid:
    """Draw KL per token and pmass at forks, one column of panels per dose.

    Parameters
    ----------
    ds : Dataset
        A sweep or any selection of it.
    kind : {"band", "fan", "spaghetti"}
        The median with p10 to p90; with p25 to p75 as well; or every trajectory as a thin line,
        and the same median. Quantiles are taken over cells and prompts and then smoothed. In
        spaghetti each trajectory is smoothed, and is red if its raw KL was above its ``target_kl``
        at any token; above a panel stands how many were, and what share of all tokens was.
    alphas : float or sequence of float, optional
        Doses, in the order of the columns; by default all that were run.
    window : int, optional
        Only cells of this window, in tokens; needed where there are several.
    by : str, optional
        A label of a cell, such as ``"method"``, ``"layer"`` or one of your own: rows of panels for
        each. By default all cells are drawn together.
    roll : int, optional
        Tokens averaged, as for `isoklx.smooth`; by default an eighth of the window, at most 65.
    edges : {"shrink", "repeat"}
        At its ends a trajectory averages the tokens that there are, or repeats its end value.
    distinct : bool
        Whether what repeats another cell of the row to the byte, dose by dose, is left out.
    kl_ymax : float or "auto"
        Upper limit of KL in nats; by itself above 98% of the fullest panel, and above all of
        it if `log`. A panel that goes beyond it says how far.
    log : bool
        Whether the KL axis is logarithmic.
    kl_only : bool
        Whether to leave out pmass. It is ``pmass``, else ``pmass_eval`` if no cell has that, else
        there is none.
    mark_t : int, optional
        Token at which to draw a dotted line.
    color_by_pmass : bool
        Whether each line of a spaghetti has the colour of its own pmass at the token, interpolated
        by `isoklx.pmass_on_tokens`; the lowest are drawn last.
    line_alpha : float, optional
        Opacity of a line of the spaghetti; by default the more lines, the less.
    line_lw : float, optional
        Width of a line of the spaghetti, in points; by default 0.6.
    median_lw : float
        Width of the median, in points.

    Returns
    -------
    FacetGrid
        Its ``name_dicts`` say which ``alpha`` and ``row`` a panel is of: ``"kl"``, ``"pmass"``, or
        with `by` ``"kl of pca"``. Not saved; close it with ``matplotlib.pyplot.close(grid.fig)``.

    Raises
    ------
    DatasetError
        When `ds` is not a sweep, or has no per-token KL (or no pmass, to colour by).
    UsageError
        When an option is out of range, or of another kind of figure, a window or dose is not there,
        or a window must be chosen.

    Examples
    --------
    >>> import isoklx
    >>> grid = figure1(isoklx.open_sweep("data/sample"), kind="fan", alphas=[0.5, 1, 2])
    >>> grid.axs.shape
    (2, 3)
    """
    strokes = check_options(
        kind,
        roll=roll,
        kl_ymax=kl_ymax,
        color_by_pmass=color_by_pmass,
        line_alpha=line_alpha,
        line_lw=line_lw,
        median_lw=median_lw,
    )
    ds = in_scope(ds, window=window, alphas=alphas)
    roll = roll or default_roll(int(ds["window"].max()))
    if color_by_pmass and not ds["pmass_eval"].notnull().any():
        raise DatasetError(
            "no cell of this sweep has pmass_eval, so lines cannot be coloured by it"
        )
    answers = None if kl_only else asked(ds)
    heights = {"kl": KL_HEIGHT} if answers is None else {"kl": KL_HEIGHT, "pmass": PMASS_HEIGHT}
    once = each_once(ds, by, distinct=distinct)
    rows = groups(once.drawn, by)
    grid = facets(
        {row_name(what, label): height for label in rows for what, height in heights.items()},
        ds["alpha"].values,
        int(ds["window"].max()),
    )
    kl_axes, pmass_axes = grid.axs[:: len(heights)], grid.axs[1 :: len(heights)]

    with closed_on_error(grid):
        handles = _legend(kind, by_pmass=color_by_pmass)
        if kind == "spaghetti" and answers is not None:
            handles.append(forks_legend(answers, _colours(ds)))
        extents: dict[Axes, Extent] = {}
        for axes, (label, cells) in zip(kl_axes, rows.items(), strict=True):
            smoothing = Smoothing(roll, edges)
            extents |= _draw_kl(axes, cells, kind, smoothing, strokes, by_pmass=color_by_pmass)
            if once.differ:
                note_sizes(axes, once.sizes[label])
            label_row(axes, "KL (nats)", label)
            target = draw_target(axes, cells)
        limit(extents, ymax=kl_ymax, log=log, least=float(ds["target_kl"].max()))
        handles.append(target)
        if answers is not None:
            for axes, cells in zip(pmass_axes, rows.values(), strict=True):
                _draw_pmass(axes, cells[answers], kind, strokes)
                label_row(axes, answers)
        if mark_t is not None:
            handles.append(draw_mark(grid.axs.flat, ds, mark_t))
        if color_by_pmass:
            _put_colour_bar(grid, kl_axes[0])
            handles += unknown_legend(ds)
        put_legend(grid, handles)
        what = f"KL(steered || base) per token{how_smoothed(roll)}"
        put_title(grid, ds, what, size=trajectories(once.total))
        typeset(grid.fig)
    return grid


class Smoothing(NamedTuple):
    """As for `isoklx.smooth`."""

    roll: int
    edges: Edges


def check_options(
    kind: str,
    *,
    roll: int | None,
    kl_ymax: float | Literal["auto"],
    color_by_pmass: bool,
    line_alpha: float | None,
    line_lw: float | None,
    median_lw: float,
) -> Strokes:
    """Refuse options that fit no sweep, before there is one; say how lines are drawn.

    Raises
    ------
    UsageError
        When one is out of range, two exclude each other, or one would do nothing.
    """
    if kind not in get_args(Kind):
        raise UsageError(f"kind {kind!r}: give one of {', '.join(get_args(Kind))}")
    if color_by_pmass and kind != "spaghetti":
        raise UsageError(f"color_by_pmass colours single lines: choose kind spaghetti, not {kind}")
    strokes = Strokes(line_alpha, Strokes.line_lw if line_lw is None else line_lw, median_lw)
    for name, value in (("line_alpha", line_alpha), ("line_lw", line_lw)):
        if value is not None and kind != "spaghetti":
            raise UsageError(f"{name} is of single lines: choose kind spaghetti, not {kind}")
    if roll is not None:
        check_count("roll", roll)
    check_ymax(kl_ymax)
    return strokes


def _draw_kl(
    axes: Panels,
    ds: xr.Dataset,
    kind: Kind,
    smoothing: Smoothing,
    strokes: Strokes,
    *,
    by_pmass: bool,
) -> dict[Axes, Extent]:
    """Draw a row of panels, and say how far each of them goes."""
    if kind == "spaghetti":
        return {
            ax: draw_spaghetti(ax, ds.isel(alpha=i), *smoothing, strokes, by_pmass=by_pmass)
            for i, ax in enumerate(axes)
        }
    # What repeats is gone already.
    roll, edges = smoothing
    quantiles = bands(ds["kl"], levels(kind), roll, edges=edges).compute()
    return {
        ax: draw_band(ax, quantiles.isel(alpha=i), kind, colour, strokes)
        for i, (ax, colour) in enumerate(zip(axes, _colours(ds), strict=True))
    }


def _draw_pmass(axes: Panels, pmass: xr.DataArray, kind: Kind, strokes: Strokes) -> None:
    for i, (ax, colour) in enumerate(zip(axes, _colours(pmass), strict=True)):
        draw_forks(ax, pmass.isel(alpha=i), kind, colour, strokes)


def _put_colour_bar(grid: Grid, axes: Panels) -> None:
    colours = ScalarMappable(cmap=palette.pmass_colours())
    # Beside a row of panels, so that it lies on no data.
    grid.cbar = grid.fig.colorbar(colours, ax=axes, ticks=[0, 0.5, 1], aspect=15, pad=0.01)
    grid.cbar.ax.tick_params(labelsize="x-small")
    grid.cbar.set_label("pmass_eval at the token", fontsize="x-small")


def _colours(ds: xr.Dataset | xr.DataArray) -> list[str]:
    return list(dose_colours(ds["alpha"].values).values())


def _legend(kind: Kind, *, by_pmass: bool) -> list[Artist | tuple[Artist, ...]]:
    if kind != "spaghetti":
        return [*band_legend(kind)]
    colours = [] if by_pmass else spaghetti_legend()
    return [*colours, Line2D([], [], color=palette.ink(), label="median")]
