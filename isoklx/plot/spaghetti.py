"""Every trajectory as a thin line, and their median."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from isoklx.plot import palette
from isoklx.plot.facets import note
from isoklx.plot.limits import Extent
from isoklx.plot.lines import (
    Strokes,
    add_lines,
    by_line,
    draw_median,
    in_memory_if_small,
    note_shown,
    shown,
)
from isoklx.stats.kernels.smoothing import Edges
from isoklx.stats.targets import above_target, crossed
from isoklx.stats.trajectories import (
    paired_pmass,
    pmass_on_tokens,
    quantile,
    smooth,
)

PMASS_LEVELS = 32
"""More shades than that nobody tells apart, and each makes more pieces of a line."""

CROSSED, BELOW = 0, 1


def draw_spaghetti(
    ax: Axes, ds: xr.Dataset, roll: int, edges: Edges, strokes: Strokes, *, by_pmass: bool
) -> Extent:
    """Draw the trajectories of one dose, each smoothed, and say how far they go.

    Parameters
    ----------
    ax : Axes
    ds : Dataset
        Cells of one dose, without the dimension ``alpha``.
    roll, edges
        As for `isoklx.smooth`.
    strokes : Strokes
    by_pmass : bool
        Whether colour says pmass at the token, else whether the trajectory crossed its target.

    Returns
    -------
    Extent
    """
    needed = ["kl", "target_kl", "pmass_eval", "gen_len", "unpaired"]
    ds = in_memory_if_small(ds[[name for name in needed if name in ds]])
    of_all = xr.Dataset(
        {
            "crossed": crossed(ds),
            "ran": ds["kl"].notnull().any("token"),
            "above": above_target(ds).sum(),
            "there": ds["kl"].notnull().sum(),
            "median": smooth(quantile(ds["kl"], 0.5), roll, edges=edges),
        }
    ).compute()
    n = int(of_all["ran"].sum())
    drawn = shown(ds).compute()
    lines, tokens = by_line(smooth(drawn["kl"], roll, edges=edges)), drawn["token"].values
    there = ~np.isnan(lines).all(axis=1)
    if by_pmass:
        level = by_line(_pmass_level(pmass_on_tokens(drawn)))[there]
        collection, levels = add_lines(ax, tokens, lines[there], level, strokes)
        shade = np.where(levels < PMASS_LEVELS, (levels + 0.5) / PMASS_LEVELS, np.nan)
        collection.set(cmap=palette.pmass_colours(), clim=(0, 1), array=shade)
    else:
        level = np.where(by_line(crossed(drawn).expand_dims("token"))[there], CROSSED, BELOW)
        collection, levels = add_lines(ax, tokens, lines[there], level, strokes)
        collection.set_color([(palette.CROSSED, palette.BELOW)[i] for i in levels])
        if n:
            note(ax, f"{int(of_all['crossed'].sum()) / n:.0%} crossed")
            share = int(of_all["above"]) / int(of_all["there"])
            # Of the tokens of a sound dose a few are above, and it matters how few.
            digits = 1 if 0 < share < 0.1 else 0
            note(ax, f"{share:.{digits}%} of tokens above")
    note_shown(ax, there.sum(), n)
    draw_median(ax, of_all["median"], strokes)
    return Extent.of_lines(lines, of_all["median"].values)


def spaghetti_legend() -> list[Artist]:
    """What the colours of `draw_spaghetti` stand for, unless they are pmass."""
    return [
        Line2D([], [], color=palette.CROSSED, label="crossed target KL"),
        Line2D([], [], color=palette.BELOW, label="stayed below it"),
    ]


def unknown_legend(ds: xr.Dataset) -> list[Artist]:
    """What the grey of a line means, if any line has KL and no pmass."""
    unknown = ds["gen_len"].notnull() & paired_pmass(ds).isnull().all("fork")
    return [Line2D([], [], color=palette.UNKNOWN, label="pmass unknown")] if unknown.any() else []


def _pmass_level(pmass: xr.DataArray) -> xr.DataArray:
    """Shade of each token, PMASS_LEVELS where there is none."""
    shade = (pmass * PMASS_LEVELS).clip(0, PMASS_LEVELS - 1)
    return shade.fillna(PMASS_LEVELS).astype(int)
