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
from isoklx.plot.axes import FLOOR, Extent, check_ymax, limit
from isoklx.plot.figure1_numbers import LINE, by_line, lines_of_groups
from isoklx.plot.layout import (
    Grid,
    Row,
    closed_on_error,
    facets,
    label_row,
    note,
    panels_of,
    put_legend,
    put_title,
    row_name,
    words_only,
)
from isoklx.plot.lines import Strokes, Values, add_lines, draw_median, in_memory_if_small, shown
from isoklx.plot.page import AnyFigure, Page, Width
from isoklx.plot.scope import doses_drawn, each_once, how_smoothed, in_scope, split, told_apart
from isoklx.plot.spaghetti import note_shown
from isoklx.plot.titles import described, label_name, trajectories, typeset
from isoklx.stats.along import check_count
from isoklx.stats.endpoint import lifetimes
from isoklx.stats.groups import has_label
from isoklx.stats.kernels.smoothing import Edges
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
    linear: bool = False,
    width: Width | None = None,
    title: bool | str = True,
    subfigure: AnyFigure | None = None,
) -> Grid:
    """Draw KL per token, each trajectory over its own early p95, in two colours: alive and dead.

    Parameters
    ----------
    ds : Dataset
        A sweep or any selection of it.
    threshold : float
        A trajectory is dead from the first fork on with ``pmass_eval`` below it, as for
        `isoklx.survival`. What comes after the last fork of a rollout that ended before its window
        is unknown. Above a panel: how many trajectories are drawn, how many died, and how many
        ended before the window without having died; how many are drawn without pmass, which tells
        neither, and how many have KL but cannot be normalised, and are neither drawn nor counted.
    calib_tokens : int, optional
        Tokens that the early p95 is taken of, as for `isoklx.normalise_kl`; by default 20.
    normalize : bool
        Whether to divide by it; otherwise the axis is in nats.
    alphas : float or sequence of float, optional
        Doses, in the order of the columns; by default all that were run, of more than 12 an even
        spread, but those at which KL is 0 throughout and cannot be normalised.
    window : int, optional
        Only cells of this window, in tokens; needed where there are several.
    by : str, optional
        A label of a cell, such as ``"method"``, ``"layer"`` or one of your own: rows of panels for
        each. By default all models, methods and seeds are drawn together. Both sides of a
        direction, or several temperatures, have rows of their own.
    roll : int, optional
        Tokens averaged, as for `isoklx.smooth`; by default an eighth of the window, at most 65.
    edges : {"shrink", "repeat"}
        At its ends a trajectory averages the tokens that there are, or repeats its end value.
    distinct : bool
        Whether what repeats another cell of the row to the byte, dose by dose, is left out.
    kl_ymax : float or "auto"
        Upper limit; by itself above all that is drawn, or on a linear axis above 98% of the fullest
        panel. A panel that goes beyond it says how far.
    linear : bool
        Whether the KL axis is linear, not logarithmic.
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
        Its ``name_dicts`` say which ``alpha`` and ``row`` a panel is of, its ``data`` are the
        numbers that were drawn. Not saved; close it with ``matplotlib.pyplot.close(grid.fig)``.

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
    page = Page(width, title, subfigure)
    ds, rows = told_apart(ds, [] if by is None else [by])
    by = next(iter(rows), None)
    once = each_once(ds, rows, distinct=distinct)
    drawn = _numbers(once.drawn, by, threshold, calib_tokens if normalize else 0, roll, edges)
    over = f" over p95 of its first {calib_tokens} tokens" if normalize else ""
    what = f"KL(steered || base) per token{over}{how_smoothed(roll)}"
    drawn.attrs["title"] = described(ds, what, size=trajectories(once.total))
    drawn.attrs |= {"figure": "alive", "kl_ymax": kl_ymax, "linear": int(linear)}
    drawn.attrs["doses"] = doses_drawn(ds)
    return draw_numbers(drawn, page)


def draw_numbers(drawn: xr.Dataset, page: Page) -> Grid:
    """Draw what the ``data`` of an earlier figure are.

    Parameters
    ----------
    drawn : Dataset
        Lines, and for each where it died and whether it ended; medians and counts. Its attributes
        ``kl_ymax`` and ``linear`` are those of `alive`.
    page : Page

    Returns
    -------
    Grid
    """
    by, calib_tokens = drawn.attrs["by"], drawn.attrs["calib_tokens"]
    labels = drawn[by].values.tolist() if by else [None]
    names = ["" if label is None else label_name(by, label) for label in labels]
    rows = [Row(row_name("kl", name), HEIGHT) for name in names]
    grid = facets(rows, drawn, page, notes=3, legend=5)
    with closed_on_error(grid, page):
        extents: dict[Axes, Extent] = {}
        for row, label, name in zip(rows, labels, names, strict=True):
            label_row(grid, row.name, "KL / early p95" if calib_tokens else "KL (nats)", name)
            part = drawn if label is None else drawn.sel({by: label})
            if label is not None:
                part = part.isel(
                    {LINE: np.flatnonzero(has_label(part[f"{LINE}_{by}"].values, label))}
                )
            for alpha, ax in panels_of(grid, row.name).items():
                extents[ax] = _draw_panel(ax, part.sel(alpha=alpha))
        why_empty = "nothing to normalise" if calib_tokens else "not run"
        ymax, log = drawn.attrs["kl_ymax"], not drawn.attrs["linear"]
        limit(extents, ymax=ymax, log=log, least=1.0, why_empty=why_empty, floor=FLOOR)
        put_legend(grid, _legend(drawn))
        put_title(grid, page)
        typeset(grid.fig)
    return grid


def _that_can_be_normalised(ds: xr.Dataset, calib_tokens: int) -> xr.Dataset:
    """Without the doses of which there would be nothing left, unless that is all of them."""
    early = normalise_kl(ds.isel(token=slice(0, calib_tokens)), calib_tokens)
    some = early.notnull().any(["cell", "prompt", "token"]).values
    return ds.isel(alpha=some) if some.any() else ds


def _numbers(
    ds: xr.Dataset, by: str | None, threshold: float, calib_tokens: int, roll: int, edges: Edges
) -> xr.Dataset:
    """All that is drawn, in memory; KL is not normalised with 0 tokens to do it by."""
    ds = in_memory_if_small(ds)
    kl = normalise_kl(ds, calib_tokens) if calib_tokens else ds["kl"]
    paired = ds.assign(pmass_eval=paired_pmass(ds))
    lives = lifetimes(paired, "pmass_eval", threshold).isel(threshold=0, drop=True)
    whole = ds.assign({"drawn": kl, **lives.data_vars})
    groups, lines = [], []
    for labels, cells in split(whole, [] if by is None else [by]):
        doses = [_of_dose(cells.isel(alpha=i), roll, edges) for i in range(cells.sizes["alpha"])]
        found = xr.concat([each[0] for each in doses], "alpha")
        groups.append(found.assign_coords(labels))
        part = xr.concat([each[1] for each in doses], "alpha", coords="minimal", compat="override")
        for name, label in labels.items():
            part = part.assign_coords({f"{LINE}_{name}": (LINE, [label] * part.sizes[LINE])})
        lines.append(part)
    drawn = groups[0] if by is None else xr.concat(groups, by, coords="minimal", compat="override")
    drawn = drawn.merge(lines_of_groups(lines, LINE))
    return drawn.assign_attrs(
        window=int(ds["window"].max()),
        by=by or "",
        threshold=threshold,
        calib_tokens=calib_tokens,
        roll=roll,
    )


def _of_dose(cells: xr.Dataset, roll: int, edges: Edges) -> tuple[xr.Dataset, xr.Dataset]:
    """Median and counts of one dose, and its lines."""
    there, seen = cells["drawn"].notnull().any("token"), cells["end"] >= 0
    counts = {
        "n": there,
        "n_died": cells["died"] & there,
        "n_censored": cells["censored"] & there & seen,
        "n_unknown": there & ~seen,
        "n_not_normalised": cells["kl"].notnull().any("token") & ~there,
    }
    found = xr.Dataset({name: flag.sum(["cell", "prompt"]) for name, flag in counts.items()})
    median = quantile(cells["drawn"], 0.5).drop_vars("quantile")
    found["kl_median"] = smooth(median, roll, edges=edges)
    part = shown(cells).compute()
    fork = xr.DataArray(part["fork"].values, dims="fork")
    last = fork.isel(fork=part["end"].clip(0)).drop_vars("fork", errors="ignore")
    lines = xr.Dataset(
        {
            "kl": smooth(part["drawn"], roll, edges=edges),
            "death": last.where(part["died"]),
            "last_seen": last.where(part["censored"]),
            "known": (part["end"] >= 0).astype(float),
            "ended": (part["gen_len"] < part["window"]).astype(float),
        }
    )
    return found.compute(), by_line(lines, "prompt", LINE, xr.ones_like(part["gen_len"], bool))


def _draw_panel(ax: Axes, here: xr.Dataset) -> Extent:
    """Draw the trajectories of one dose, and say how far they go."""
    lines, tokens = here["kl"].transpose(LINE, "token").values, here["token"].values
    death = np.where(np.isnan(here["death"].values), np.inf, here["death"].values)
    state = np.where(tokens < death[:, np.newaxis], np.int8(ALIVE), np.int8(DEAD))
    last_seen = np.where(np.isnan(here["last_seen"].values), np.inf, here["last_seen"].values)
    state[tokens >= last_seen[:, np.newaxis]] = UNKNOWN
    state[here["known"].values != 1] = UNKNOWN
    there = ~np.isnan(lines).all(axis=1)
    collection, states = add_lines(ax, tokens, lines[there], state[there], STROKES)
    collection.set_color([COLOURS[state] for state in states])
    draw_median(ax, here["kl_median"], STROKES)
    _draw_ends(ax, tokens, lines[there & (here["ended"].values == 1)])
    n, died, censored, unknown, not_normalised = (
        int(np.nan_to_num(here[name].values))
        for name in ("n", "n_died", "n_censored", "n_unknown", "n_not_normalised")
    )
    if n:
        note(ax, f"n = {n}")
        note(ax, f"{died} died, {censored} censored" if unknown < n else "no pmass")
        if 0 < unknown < n:
            note(ax, f"{unknown} without pmass")
    if not_normalised:
        note(ax, f"{not_normalised} of {n + not_normalised} not normalised")
    note_shown(ax, int(there.sum()), n)
    return Extent.of_lines(lines, here["kl_median"].values)


def _draw_ends(ax: Axes, tokens: Values, lines: Values) -> None:
    """Put a tick on the last value of each line."""
    last = lines.shape[1] - 1 - np.isfinite(lines)[:, ::-1].argmax(axis=1)
    heights = np.take_along_axis(lines, last[:, np.newaxis], axis=1)
    ax.plot(tokens[last], heights, color=palette.ink(), **EOS)


def _legend(drawn: xr.Dataset) -> list[Artist]:
    death = f"pmass_eval < {drawn.attrs['threshold']:g}"
    handles = [
        Line2D([], [], color=palette.ALIVE, label="alive"),
        Line2D([], [], color=palette.DEAD, label=f"dead ({death})"),
        Line2D([], [], color=palette.ink(), label="median"),
        Line2D([], [], color=palette.ink(), **EOS, label="end of rollout"),
    ]
    if drawn["n_unknown"].any() or drawn["n_censored"].any():
        handles.append(Line2D([], [], color=palette.UNKNOWN, label="pmass unknown"))
    if drawn.attrs.get("doses"):
        handles.append(words_only(drawn.attrs["doses"]))  # type: ignore[arg-type]
    return handles  # type: ignore[return-value]
