"""Quantiles over trajectories: a median line with one shaded band, or two (a fan)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from isoklx.plot.axes import Extent
from isoklx.plot.lines import Strokes, thin_for

Kind = Literal["band", "fan"]
Floats = npt.NDArray[np.floating[Any]]

OUTER, INNER = (0.1, 0.9), (0.25, 0.75)
PAIRS: dict[Kind, list[tuple[float, float]]] = {"band": [OUTER], "fan": [OUTER, INNER]}
OPACITY = {OUTER: 0.28, INNER: 0.38}

OVERLAID = 0.6
"""Factor on the opacity if several bands share a panel."""

MOST_BANDS = 3
"""Maximum number of bands in a panel; more groups have medians over one band of all groups."""

COLOUR = "dimgrey"
"""Colour of the legend, since each dose has its own colour."""


def levels(kind: Kind) -> list[float]:
    """Return the quantiles to draw, ascending."""
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
    opacity: float = 1.0,
) -> Extent:
    """Draw the `levels` of one dose; return their extent.

    `dashes` and `marker` style the median; `opacity` scales the shades, 0 draws the median alone.
    """
    x, edge = _edges(ax, quantiles)
    if opacity:
        _shade(ax, x, edge, kind, colour, opacity)
    style: dict[str, Any] = {"color": colour, "linestyle": dashes, "marker": marker}
    ax.plot(x, edge[0.5], linewidth=strokes.median_lw, markersize=2.5, **style)
    low, high = PAIRS[kind][0] if opacity else (0.5, 0.5)
    return Extent.of(edge[low], edge[high], median=edge[0.5])


def draw_pooled(ax: Axes, quantiles: xr.DataArray, kind: Kind) -> Extent:
    """Draw the bands of all groups pooled, behind their medians; return their extent."""
    x, edge = _edges(ax, quantiles)
    _shade(ax, x, edge, kind, COLOUR, 1.0)
    low, high = PAIRS[kind][0]
    return replace(Extent.of(edge[low], edge[high], median=edge[0.5]), medians={})


def _edges(ax: Axes, quantiles: xr.DataArray) -> tuple[Floats, dict[float, Floats]]:
    """Return the positions and each quantile's values, thinned to what a panel can show."""
    x_name = next(dim for dim in quantiles.dims if dim != "quantile")
    quantiles = quantiles.transpose("quantile", x_name).dropna(x_name, how="all")
    kept = thin_for(ax, quantiles.values)
    if kept is not None:
        # The edges of a band must share their positions.
        quantiles = quantiles.isel({x_name: np.unique(kept)})
    edge = dict(zip(quantiles["quantile"].values.tolist(), quantiles.values, strict=True))
    return quantiles[x_name].values, edge


def _shade(
    ax: Axes, x: Floats, edge: dict[float, Floats], kind: Kind, colour: str, opacity: float
) -> None:
    for pair in PAIRS[kind]:
        lower, upper = (edge[level] for level in pair)
        alpha = OPACITY[pair] * opacity
        ax.fill_between(x, lower, upper, color=colour, alpha=alpha, linewidth=0)


def band_legend(kind: Kind, whose: str = "") -> list[Artist]:
    """Make the legend of the median and bands; `whose` is appended to the names of the bands."""
    shades = dict(OPACITY)
    # The inner band is drawn over the outer one.
    shades[INNER] = 1 - (1 - OPACITY[INNER]) * (1 - OPACITY[OUTER])
    return [
        Line2D([], [], color=COLOUR, label="median"),
        *(
            Patch(color=COLOUR, alpha=shades[pair], linewidth=0, label=f"{_name(pair)}{whose}")
            for pair in PAIRS[kind]
        ),
    ]


def _name(pair: tuple[float, float]) -> str:
    return " to ".join(f"p{100 * level:g}" for level in pair)
