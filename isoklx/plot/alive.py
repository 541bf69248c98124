"""Trajectories while alive, and from the fork on at which they were found dead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from isoklx.errors import UsageError
from isoklx.plot import palette
from isoklx.plot.facets import (
    Grid,
    closed_on_error,
    facets,
    label_row,
    note,
    put_legend,
    put_title,
    row_name,
)
from isoklx.plot.limits import Extent, check_ymax, limit
from isoklx.plot.lines import (
    Strokes,
    Values,
    add_lines,
    by_line,
    draw_median,
    in_memory_if_small,
    note_shown,
    shown,
)
from isoklx.plot.scope import each_once, groups, how_smoothed, in_scope
from isoklx.plot.spaghetti import unknown_legend
from isoklx.plot.titles import trajectories
from isoklx.plot.typesetting import typeset
from isoklx.stats.along import check_count
from isoklx.stats.kernels.smoothing import Edges
from isoklx.stats.lifetimes import lifetimes
from isoklx.stats.trajectories import (
    CALIB_TOKENS,
    default_roll,
    normalise_kl,
    paired_pmass,
    quantile,
    smooth,
)

THRESHOLD = 0.75

HEIGHT = 2.0
"""Of a row, in inches."""

DEAD, ALIVE, UNKNOWN = range(3)
COLOURS = (palette.DEAD, palette.ALIVE, palette.UNKNOWN)

STROKES = Strokes()
EOS: dict[str, Any] = {"marker": "|", "markersize": 4, "linestyle": "none"}


def alive(
    ds: xr.Dataset,
    *,
    threshold: float = THRESHOLD,
    calib_tokens: int | None = None,
    normalize: bool = True,
    alphas: float | Sequence[float] | None = None,
    window: int | None = None,
    by: str | None = None,
    roll: int | None = None,
    edges: Edges = "shrink",
    distinct: bool = True,
    kl_ymax: float | Literal["auto"] = "auto",
    log: bool = True,
) -> Grid:
    """Draw KL per token, each trajectory over its own early p95, in two colours: alive and dead.

    Parameters
    ----------
    ds : Dataset
        A sweep or any selection of it.
    threshold : float
        A trajectory is dead from the first fork on with ``pmass_eval`` below it, as for
        `isoklx.survival`. Above a panel: of how many trajectories pmass is known, how many died,
        and how many ended before the window without having died.
    calib_tokens : int, optional
        Tokens that the early p95 is taken of, as for `isoklx.normalise_kl`; by default 20.
    normalize : bool
        Whether to divide by it; otherwise the axis is in nats.
    alphas : float or sequence of float, optional
        Doses, in the order of the columns; by default all that were run, but those at which KL is 0
        throughout and cannot be normalised.
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
        Upper limit; by itself above 98% of the fullest panel, and above all of it if `log`. A panel
        that goes beyond it says how far.
    log : bool
        Whether the KL axis is logarithmic.

    Returns
    -------
    FacetGrid
        Its ``name_dicts`` say which ``alpha`` and ``row`` a panel is of. Not saved; close it with
        ``matplotlib.pyplot.close(grid.fig)``.

    Raises
    ------
    DatasetError
        When `ds` is not a sweep, or has no per-token KL, or no ``pmass_eval``.
    UsageError
        When an option is out of range, a window or dose is not there, or a window must be chosen.

    Examples
    --------
    >>> import isoklx
    >>> grid = alive(isoklx.open_sweep("data/sample"), alphas=[1, 2])
    >>> grid.axs.shape
    (1, 2)
    """
    check_ymax(kl_ymax)
    if calib_tokens is not None and not normalize:
        raise UsageError(f"calib_tokens={calib_tokens}: does nothing where KL is not normalised")
    calib_tokens = CALIB_TOKENS if calib_tokens is None else calib_tokens
    ds = in_scope(ds, window=window, alphas=alphas)
    if normalize and alphas is None:
        ds = _that_can_be_normalised(ds, calib_tokens)
    roll = check_count("roll", default_roll(int(ds["window"].max())) if roll is None else roll)
    once = each_once(ds, by, distinct=distinct)
    drawn = once.drawn
    kl = normalise_kl(drawn, calib_tokens) if normalize else drawn["kl"]
    paired = drawn.assign(pmass_eval=paired_pmass(drawn))
    lives = lifetimes(paired, "pmass_eval", threshold).isel(threshold=0, drop=True)
    drawn = drawn.assign({"drawn": kl, **lives.data_vars})
    rows = groups(drawn, by)
    grid = facets(
        {row_name("kl", label): HEIGHT for label in rows},
        drawn["alpha"].values,
        int(ds["window"].max()),
    )
    with closed_on_error(grid):
        extents: dict[Axes, Extent] = {}
        for axes, (label, cells) in zip(grid.axs, rows.items(), strict=True):
            label_row(axes, "KL / early p95" if normalize else "KL (nats)", label)
            for i, ax in enumerate(axes):
                extents[ax] = _draw_panel(ax, cells.isel(alpha=i), roll, edges)
        why_empty = "nothing to normalise" if normalize else "not run"
        limit(extents, ymax=kl_ymax, log=log, least=1.0, why_empty=why_empty)
        put_legend(grid, _legend(drawn, threshold))
        over = f" over p95 of its first {calib_tokens} tokens" if normalize else ""
        what = f"KL(steered || base) per token{over}{how_smoothed(roll)}"
        put_title(grid, ds, what, size=trajectories(once.total))
        typeset(grid.fig)
    return grid


def _that_can_be_normalised(ds: xr.Dataset, calib_tokens: int) -> xr.Dataset:
    """Without the doses of which there would be nothing left, unless that is all of them."""
    early = normalise_kl(ds.isel(token=slice(0, calib_tokens)), calib_tokens)
    some = early.notnull().any(["cell", "prompt", "token"]).values
    return ds.isel(alpha=some) if some.any() else ds


def _draw_panel(ax: Axes, ds: xr.Dataset, roll: int, edges: Edges) -> Extent:
    """Draw the trajectories of one dose, and say how far they go."""
    ds = in_memory_if_small(ds)
    lives = ds[["end", "died", "censored"]].assign(
        ran=ds["drawn"].notnull().any("token"),
        median=smooth(quantile(ds["drawn"], 0.5), roll, edges=edges),
    )
    lives = lives.compute()
    seen, n_died = lives["end"].values >= 0, lives["died"].values.sum()

    part = shown(ds).compute()
    lines, tokens = by_line(smooth(part["drawn"], roll, edges=edges)), part["token"].values
    end, died = by_line(part["end"]), by_line(part["died"])
    death = np.where(died, part["fork"].values[end], np.inf)
    state = np.where(tokens < death[:, np.newaxis], ALIVE, DEAD)
    state[end < 0] = UNKNOWN
    there = ~np.isnan(lines).all(axis=1)
    collection, states = add_lines(ax, tokens, lines[there], state[there], STROKES)
    collection.set_color([COLOURS[state] for state in states])
    draw_median(ax, lives["median"], STROKES)
    window = part["window"].broadcast_like(part["gen_len"])
    _draw_ends(ax, tokens, lines[there & (by_line(part["gen_len"]) < by_line(window))])
    note(ax, f"n = {seen.sum()}" if seen.any() else "no pmass")
    if seen.any():
        note(ax, f"{n_died} died, {lives['censored'].values.sum()} censored")
    note_shown(ax, there.sum(), int(lives["ran"].sum()))
    return Extent.of_lines(lines, lives["median"].values)


def _draw_ends(ax: Axes, tokens: Values, lines: Values) -> None:
    """Put a tick on the last value of each line."""
    last = lines.shape[1] - 1 - np.isfinite(lines)[:, ::-1].argmax(axis=1)
    heights = np.take_along_axis(lines, last[:, np.newaxis], axis=1)
    ax.plot(tokens[last], heights, color=palette.ink(), **EOS)


def _legend(ds: xr.Dataset, threshold: float) -> list[Artist]:
    handles = [
        Line2D([], [], color=palette.ALIVE, label="alive"),
        Line2D([], [], color=palette.DEAD, label=f"dead (pmass_eval < {threshold:g})"),
        Line2D([], [], color=palette.ink(), label="median"),
        Line2D([], [], color=palette.ink(), **EOS, label="end of rollout"),
    ]
    return [*handles, *unknown_legend(ds)]
