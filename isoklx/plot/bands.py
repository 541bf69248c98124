"""Quantiles over trajectories: a median line in one shaded band, or in a fan of two."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from isoklx.plot.limits import Extent
from isoklx.plot.lines import Strokes
from isoklx.plot.thinning import thin_for

Kind = Literal["band", "fan"]

OUTER, INNER = (0.1, 0.9), (0.25, 0.75)
PAIRS: dict[Kind, list[tuple[float, float]]] = {"band": [OUTER], "fan": [OUTER, INNER]}
OPACITY = {OUTER: 0.28, INNER: 0.38}

OVERLAID = 0.6
"""Of that opacity, where several bands share a panel."""

COLOUR = "dimgrey"
"""Of the legend, as each dose has its own."""


def levels(kind: Kind) -> list[float]:
    """Quantiles that are drawn, ascending."""
    return sorted({0.5, *(level for pair in PAIRS[kind] for level in pair)})


def draw_band(
    ax: Axes,
    quantiles: xr.DataArray,
    kind: Kind,
    colour: str,
    strokes: Strokes,
    dashes: Any = "-",
    *,
    marker: str = "",
    overlaid: bool = False,
) -> Extent:
    """Draw quantiles of one dose, and say how far they go.

    Parameters
    ----------
    ax : Axes
    quantiles : DataArray
        The `levels` of this kind, along ``quantile`` and the dimension of the x axis; NaN where
        there is nothing to draw.
    kind : {"band", "fan"}
    colour : str
    strokes : Strokes
    dashes : line style
        Of the median.
    marker : str
        On the median.
    overlaid : bool
        Whether there are others in the panel, which the shades shall not hide.

    Returns
    -------
    Extent
    """
    x_name = next(dim for dim in quantiles.dims if dim != "quantile")
    quantiles = quantiles.transpose("quantile", x_name).dropna(x_name, how="all")
    kept = thin_for(ax, quantiles.values)
    if kept is not None:
        # The edges of a band share their positions.
        quantiles = quantiles.isel({x_name: np.unique(kept)})
    x = quantiles[x_name].values
    edge = dict(zip(quantiles["quantile"].values.tolist(), quantiles.values, strict=True))
    for pair in PAIRS[kind]:
        lower, upper = (edge[level] for level in pair)
        opacity = OPACITY[pair] * (OVERLAID if overlaid else 1)
        ax.fill_between(x, lower, upper, color=colour, alpha=opacity, linewidth=0)
    style: dict[str, Any] = {"color": colour, "linestyle": dashes, "marker": marker}
    ax.plot(x, edge[0.5], linewidth=strokes.median_lw, markersize=2.5, **style)
    outermost = PAIRS[kind][0]
    return Extent.of(edge[outermost[0]], edge[outermost[1]], median=edge[0.5])


def band_legend(kind: Kind) -> list[Artist]:
    """What the line and the shades stand for, in whatever colour."""
    shades = dict(OPACITY)
    # The inner band lies upon the outer one.
    shades[INNER] = 1 - (1 - OPACITY[INNER]) * (1 - OPACITY[OUTER])
    return [
        Line2D([], [], color=COLOUR, label="median"),
        *(
            Patch(color=COLOUR, alpha=shades[pair], linewidth=0, label=_name(pair))
            for pair in PAIRS[kind]
        ),
    ]


def _name(pair: tuple[float, float]) -> str:
    return " to ".join(f"p{100 * level:g}" for level in pair)
