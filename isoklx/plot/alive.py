"""Figure of trajectories, coloured by whether they are alive or dead."""

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
"""Height of a row in inches."""

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
    """Draw KL per token of each trajectory, divided by its early p95 and coloured alive or dead.

    Parameters
    ----------
    ds : Dataset
        A sweep or any selection of it.
    threshold : float
        A trajectory is dead from the first fork at which ``pmass_eval`` is below this, as in
        `isoklx.survival`. After the last fork of a rollout that ended before its window, its state
        is unknown. The note above each panel counts the trajectories drawn, the deaths and the
        censored (ended before the window, not dead). It also counts trajectories without pmass,
        and those whose KL cannot be normalised, which are not drawn.
    calib_tokens : int, optional
        Number of initial tokens whose p95 divides KL, as in `isoklx.normalise_kl`; by default 20.
    normalize : bool
        Divide each trajectory by its early p95; otherwise the axis is in nats.
    alphas : float or sequence of float, optional
        Doses, in the order of the columns. By default all doses that were run (evenly spaced ones
        if there are more than 12), except doses whose KL is 0 and cannot be normalised.
    window : int, optional
        Draw only cells with this window, in tokens; required if the windows differ.
    by : str, optional
        Label of a cell, such as ``"method"``, ``"layer"`` or one of your own: draw a row of panels
        for each value. By default all models, methods and seeds are pooled. The two sides of a
        direction and different temperatures always have separate rows.
    roll : int, optional
        Tokens to average over, as in `isoklx.smooth`; by default an eighth of the window, at most
        65.
    edges : {"shrink", "repeat"}
        At the ends of a trajectory, average over fewer tokens, or repeat the end value.
    distinct : bool
        Leave out duplicates: at each dose, cells identical to another cell of the row.
    kl_ymax : float or "auto"
        Upper limit of the axis. "auto" shows all values, or on a linear axis 98% of those in the
        fullest panel. A panel with higher values notes its maximum.
    linear : bool
        Draw a linear KL axis instead of a logarithmic one.
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
        ``name_dicts`` gives the ``alpha`` and ``row`` of each panel, ``data`` the numbers drawn.
        Not saved; close it with ``matplotlib.pyplot.close(grid.fig)``.

    Raises
    ------
    DatasetError
        If `ds` is not a sweep, or lacks per-token KL or ``pmass_eval``.
    UsageError
        If an option is out of range, a window or dose is not found, or a window must be chosen.

    Examples
    --------
    >>> import isoklx
    >>> grid = alive(isoklx.open_sweep("data/sample"), alphas=[1, 2])
    >>> grid.axs.shape
    (1, 2)
    """
    check_ymax(kl_ymax)
    if calib_tokens is not None and not normalize:
        raise UsageError(f"calib_tokens={calib_tokens} has no effect without normalisation")
    calib_tokens = CALIB_TOKENS if calib_tokens is None else calib_tokens
    ds = in_scope(ds, window=window, alphas=alphas)
    if normalize and alphas is None:
        ds = _drop_unnormalisable(ds, calib_tokens)
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
    """Draw the figure from its numbers: lines with their death and end, medians and counts."""
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


def _drop_unnormalisable(ds: xr.Dataset, calib_tokens: int) -> xr.Dataset:
    """Drop the doses at which no trajectory can be normalised, unless that would drop all."""
    early = normalise_kl(ds.isel(token=slice(0, calib_tokens)), calib_tokens)
    some = early.notnull().any(["cell", "prompt", "token"]).values
    return ds.isel(alpha=some) if some.any() else ds


def _numbers(
    ds: xr.Dataset, by: str | None, threshold: float, calib_tokens: int, roll: int, edges: Edges
) -> xr.Dataset:
    """Compute the numbers to draw, in memory; `calib_tokens` 0 leaves KL in nats."""
    ds = in_memory_if_small(ds)
    kl = normalise_kl(ds, calib_tokens) if calib_tokens else ds["kl"]
    paired = ds.assign(pmass_eval=paired_pmass(ds))
    events = lifetimes(paired, "pmass_eval", threshold).isel(threshold=0, drop=True)
    ds = ds.assign({"drawn": kl, **events.data_vars})
    groups, lines = [], []
    for labels, cells in split(ds, [] if by is None else [by]):
        doses = [
            _numbers_of_dose(cells.isel(alpha=i), roll, edges) for i in range(cells.sizes["alpha"])
        ]
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


def _numbers_of_dose(cells: xr.Dataset, roll: int, edges: Edges) -> tuple[xr.Dataset, xr.Dataset]:
    """Return the median and counts of one dose, and its lines."""
    drawable, known = cells["drawn"].notnull().any("token"), cells["end"] >= 0
    counts = {
        "n": drawable,
        "n_died": cells["died"] & drawable,
        "n_censored": cells["censored"] & drawable & known,
        "n_unknown": drawable & ~known,
        "n_not_normalised": cells["kl"].notnull().any("token") & ~drawable,
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


def _draw_panel(ax: Axes, panel: xr.Dataset) -> Extent:
    """Draw the trajectories of one dose; return their extent."""
    lines, tokens = panel["kl"].transpose(LINE, "token").values, panel["token"].values
    death = np.where(np.isnan(panel["death"].values), np.inf, panel["death"].values)
    state = np.where(tokens < death[:, np.newaxis], np.int8(ALIVE), np.int8(DEAD))
    last_seen = np.where(np.isnan(panel["last_seen"].values), np.inf, panel["last_seen"].values)
    state[tokens >= last_seen[:, np.newaxis]] = UNKNOWN
    state[panel["known"].values != 1] = UNKNOWN
    drawable = ~np.isnan(lines).all(axis=1)
    collection, states = add_lines(ax, tokens, lines[drawable], state[drawable], STROKES)
    collection.set_color([COLOURS[state] for state in states])
    draw_median(ax, panel["kl_median"], STROKES)
    _draw_ends(ax, tokens, lines[drawable & (panel["ended"].values == 1)])
    n, died, censored, unknown, not_normalised = (
        int(np.nan_to_num(panel[name].values))
        for name in ("n", "n_died", "n_censored", "n_unknown", "n_not_normalised")
    )
    if n:
        note(ax, f"n = {n}")
        note(ax, f"{died} died, {censored} censored" if unknown < n else "no pmass")
        if 0 < unknown < n:
            note(ax, f"{unknown} without pmass")
    if not_normalised:
        note(ax, f"{not_normalised} of {n + not_normalised} not normalised")
    note_shown(ax, int(drawable.sum()), n)
    return Extent.of_lines(lines, panel["kl_median"].values)


def _draw_ends(ax: Axes, tokens: Values, lines: Values) -> None:
    """Mark the last value of each line with a tick."""
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
