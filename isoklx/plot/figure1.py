"""Figure 1: KL per token above pmass at the forks, one column of panels per dose."""

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
        "band": median with p10 to p90; "fan": also p25 to p75; "spaghetti": every trajectory as a
        thin line, with the median. Quantiles are taken over cells and prompts, then smoothed. In
        spaghetti each trajectory is smoothed, and red if its raw KL exceeds its ``target_kl`` at
        any token; a note above the panel gives the share of such trajectories, and of tokens above
        the target. Its median is smoothed over at least the default `roll`, stated in the legend.
    alphas : float or sequence of float, optional
        Doses, in the order of the columns. By default all doses that were run; if there are more
        than 12, evenly spaced ones with 0, 1 and the extremes, as the legend states.
    window : int, optional
        Draw only cells with this window, in tokens; required if the windows differ.
    by : str, optional
        Label of a cell, such as ``"method"``, ``"layer"`` or one of your own: draw a row of panels
        for each value. By default all models, methods and seeds are pooled. The two sides of a
        direction and different temperatures always have separate rows.
    hue : str, optional
        Label of a cell: draw a band for each value in one panel, coloured by label (a method has
        the same colour in every figure). With more than three values only their medians are drawn,
        over one band of all. By default bands are coloured by dose.
    roll : int, optional
        Tokens to average over, as in `isoklx.smooth`; by default an eighth of the window, at most
        65.
    edges : {"shrink", "repeat"}
        At the ends of a trajectory, average over fewer tokens, or repeat the end value.
    distinct : bool
        Leave out duplicates: at each dose, cells identical to another cell of the group.
    kl_ymax : float or "auto", optional
        Upper limit of KL in nats. "auto" shows all values, or on a linear axis 98% of those in the
        fullest panel. By default auto, or 6 on a linear axis. A panel with higher values notes its
        maximum.
    linear : bool
        Draw a linear KL axis from 0. The default is a logarithmic one from the lowest value, at
        least 0.001 nats; the legend states its start, and panels note what lies below.
    kl_only : bool
        Leave out the row of pmass.
    pmass : {"pmass_eval", "pmass"}, optional
        Draw pmass at the prompts of KL (``pmass_eval``) or at the questions (``pmass``) in the
        lower row; by default ``pmass_eval`` if any cell has it, otherwise ``pmass``. The legend
        states which.
    mark_t : int, optional
        Token at which to draw a dotted line.
    color_by_pmass : bool
        Colour each line of a spaghetti by its own pmass at each token, interpolated by
        `isoklx.pmass_on_tokens`, and likewise in the lower row; the lowest pmass is drawn on top.
    line_alpha : float, optional
        Opacity of a line of a spaghetti; by default lower for more lines.
    line_lw : float, optional
        Width of a line of a spaghetti, in points; by default thinner for more lines.
    median_lw : float
        Width of the median, in points.
    width : float or {"column", "page"}, optional
        Width of the figure in inches; a column is 3.3 and a page 7. Columns that do not fit
        continue in further rows. By default the style's ``figure.figsize``, or as wide as the
        panels need.
    title : bool or str
        Write a title made from the data, or this text.
    subfigure : Figure or SubFigure, optional
        Draw into this instead of a new figure.

    Returns
    -------
    FacetGrid
        ``name_dicts`` gives the ``alpha`` and ``row`` of each panel (``"kl"``, ``"pmass"``, or with
        `by` ``"kl of pca"``), ``data`` the numbers drawn. A note above each panel counts its
        trajectories and the distinct ones. Not saved; close it with
        ``matplotlib.pyplot.close(grid.fig)``.

    Raises
    ------
    DatasetError
        If `ds` is not a sweep, or lacks per-token KL or the requested pmass.
    UsageError
        If an option is out of range or belongs to another kind of figure, a window or dose is not
        found, or a window must be chosen.

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
        raise DatasetError("color_by_pmass needs pmass_eval, which no cell of this sweep has")
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
    """Check the options that do not depend on the sweep; return the line styles."""
    if kind not in get_args(Kind):
        raise UsageError(f"kind must be one of {', '.join(get_args(Kind))}, got {kind!r}")
    if color_by_pmass and kind != "spaghetti":
        raise UsageError(f"color_by_pmass applies to kind spaghetti only, got {kind}")
    if hue is not None and kind == "spaghetti":
        raise UsageError(f"hue={hue} applies to kind band or fan only, got {kind}")
    if hue is not None and hue == by:
        raise UsageError(f"hue={hue} is also in by; give it once")
    strokes = Strokes(line_alpha, line_lw, median_lw)
    for name, value in (("line_alpha", line_alpha), ("line_lw", line_lw)):
        if value is not None and kind != "spaghetti":
            raise UsageError(f"{name} applies to kind spaghetti only, got {kind}")
    if roll is not None:
        check_count("roll", roll)
    check_ymax(kl_ymax)
    return strokes
