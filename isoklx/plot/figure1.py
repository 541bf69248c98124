"""Figure 1: KL token by token, and below it pmass at the forks, one column per dose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import xarray as xr

from isoklx.errors import DatasetError, UsageError
from isoklx.plot.axes import check_mark, check_ymax
from isoklx.plot.figure1_numbers import Answers, Choice, answers_of, numbers
from isoklx.plot.figure1_panels import Look, draw_numbers
from isoklx.plot.layout import Grid
from isoklx.plot.lines import Strokes
from isoklx.plot.page import AnyFigure, Page, Width
from isoklx.plot.scope import how_smoothed, in_scope, told_apart
from isoklx.plot.titles import described, trajectories
from isoklx.stats.along import check_count
from isoklx.stats.kernels.smoothing import Edges
from isoklx.stats.trajectories import default_roll

Kind = Literal["band", "fan", "spaghetti"]


def figure1(
    ds: xr.Dataset,
    *,
    kind: Kind = "band",
    alphas: float | Sequence[float] | None = None,
    window: int | None = None,
    by: str | None = None,
    hue: str | None = None,
    roll: int | None = None,
    edges: Edges = "shrink",
    distinct: bool = True,
    kl_ymax: float | Literal["auto"] | None = None,
    linear: bool = False,
    kl_only: bool = False,
    pmass: Answers | None = None,
    mark_t: int | None = None,
    color_by_pmass: bool = False,
    line_alpha: float | None = None,
    line_lw: float | None = None,
    median_lw: float = Strokes.median_lw,
    width: Width | None = None,
    title: bool | str = True,
    subfigure: AnyFigure | None = None,
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
        at any token; above a panel stands how many were, and what share of all tokens was. Its
        median is smoothed over no fewer tokens than the default, which the legend says.
    alphas : float or sequence of float, optional
        Doses, in the order of the columns; by default all that were run, of more than 12 an even
        spread with 0, 1 and the extremes, which the legend says.
    window : int, optional
        Only cells of this window, in tokens; needed where there are several.
    by : str, optional
        A label of a cell, such as ``"method"``, ``"layer"`` or one of your own: rows of panels for
        each. By default all models, methods and seeds are drawn together. Both sides of a
        direction, or several temperatures, have rows of their own.
    hue : str, optional
        A label of a cell: bands of each in one panel, in colours of their own, the same for a
        method in every figure. Of more than three groups the medians are drawn, upon one band of
        all together. By default colours are those of doses.
    roll : int, optional
        Tokens averaged, as for `isoklx.smooth`; by default an eighth of the window, at most 65.
    edges : {"shrink", "repeat"}
        At its ends a trajectory averages the tokens that there are, or repeats its end value.
    distinct : bool
        Whether what repeats another cell of the group to the byte, dose by dose, is left out.
    kl_ymax : float or "auto", optional
        Upper limit of KL in nats; "auto" is above all that is drawn, or on a linear axis above 98%
        of the fullest panel. By default auto, and 6 on a linear axis. A panel that goes beyond it
        says how far.
    linear : bool
        Whether the KL axis is linear from 0; else logarithmic, from 0.001 nats or what is the
        lowest, which the legend says. Panels say what lies below.
    kl_only : bool
        Whether to leave out pmass.
    pmass : {"pmass_eval", "pmass"}, optional
        Whether the lower row is of the prompts of KL (``pmass_eval``) or of the questions
        (``pmass``); by default the first of these that any cell has. The legend says which.
    mark_t : int, optional
        Token at which to draw a dotted line.
    color_by_pmass : bool
        Whether each line of a spaghetti has the colour of its own pmass at the token, interpolated
        by `isoklx.pmass_on_tokens`, and those of the lower row likewise; the lowest are drawn last.
    line_alpha : float, optional
        Opacity of a line of the spaghetti; by default the more lines, the less.
    line_lw : float, optional
        Width of a line of the spaghetti, in points; by default the more lines, the thinner.
    median_lw : float
        Width of the median, in points.
    width : float or {"column", "page"}, optional
        Of the figure, in inches; a column is 3.3 and a page 7. Doses go on in further rows where
        they do not fit. By default that of the style's ``figure.figsize``, or what they would like.
    title : bool or str
        Whether to write a title made from the data above it; or one of your own.
    subfigure : Figure or SubFigure, optional
        To draw into, instead of a new figure.

    Returns
    -------
    FacetGrid
        Its ``name_dicts`` say which ``alpha`` and ``row`` a panel is of: ``"kl"``, ``"pmass"``, or
        with `by` ``"kl of pca"``; its ``data`` are the numbers that were drawn. Above each panel
        stand its trajectories, and how many of them are distinct. Not saved; close it with
        ``matplotlib.pyplot.close(grid.fig)``.

    Raises
    ------
    DatasetError
        When `ds` is not a sweep, or has no per-token KL (or not the pmass that was asked for).
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
        by=by,
        hue=hue,
        roll=roll,
        kl_ymax=kl_ymax,
        color_by_pmass=color_by_pmass,
        line_alpha=line_alpha,
        line_lw=line_lw,
        median_lw=median_lw,
    )
    page = Page(width, title, subfigure)
    ds = in_scope(ds, window=window, alphas=alphas)
    if mark_t is not None:
        check_mark(int(ds["window"].max()), mark_t)
    if color_by_pmass and not ds["pmass_eval"].notnull().any():
        raise DatasetError(
            "no cell of this sweep has pmass_eval, so lines cannot be coloured by it"
        )
    answers = answers_of(ds, pmass, kl_only=kl_only)
    ds, rows = told_apart(ds, [by] if by else [], [hue] if hue else [])
    by = next(iter(rows), None)
    usual = default_roll(int(ds["window"].max()))
    roll = roll or usual
    choice = Choice(kind, by, hue, roll, edges, distinct, answers, color_by_pmass, usual)
    drawn = numbers(ds, choice)
    total = drawn[["total_n", "total_n_distinct"]].rename(
        total_n="n", total_n_distinct="n_distinct"
    )
    what = f"KL(steered || base) per token{how_smoothed(roll)}"
    drawn.attrs["title"] = described(ds, what, size=trajectories(total))
    drawn.attrs |= Look(kl_ymax, linear, mark_t, strokes).attrs
    return draw_numbers(drawn, page)


def check_options(
    kind: str,
    *,
    by: str | None,
    hue: str | None,
    roll: int | None,
    kl_ymax: float | Literal["auto"] | None,
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
    if hue is not None and kind == "spaghetti":
        raise UsageError(f"hue={hue} lays bands upon each other: choose kind band or fan")
    if hue is not None and hue == by:
        raise UsageError(f"hue={hue}: rows differ in it already; give it once")
    strokes = Strokes(line_alpha, line_lw, median_lw)
    for name, value in (("line_alpha", line_alpha), ("line_lw", line_lw)):
        if value is not None and kind != "spaghetti":
            raise UsageError(f"{name} is of single lines: choose kind spaghetti, not {kind}")
    if roll is not None:
        check_count("roll", roll)
    check_ymax(kl_ymax)
    return strokes
