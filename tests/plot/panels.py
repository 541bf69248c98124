"""Content of a panel, read from its artists."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_hex
from xarray.plot import FacetGrid

Values = npt.NDArray[Any]


def panel(grid: FacetGrid[xr.DataArray], alpha: float, row: str = "kl") -> Axes:
    names = grid.name_dicts
    return next(
        grid.axs[place]
        for place in np.ndindex(names.shape)
        if names[place] == {"row": row, "alpha": alpha}
    )


def bands_of(ax: Axes) -> list[tuple[Values, Values, Values]]:
    """Return positions, lower and upper edge of each band."""
    found = []
    for shade in ax.collections:
        if isinstance(shade, PolyCollection):
            (path,) = shade.get_paths()
            n = (len(path.vertices) - 3) // 2
            lower, upper = path.vertices[1 : n + 1], path.vertices[n + 2 : -1][::-1]
            assert (lower[:, 0] == upper[:, 0]).all()
            found.append((lower[:, 0], lower[:, 1], upper[:, 1]))
    return found


def lines_of(ax: Axes) -> LineCollection:
    return next(each for each in ax.collections if isinstance(each, LineCollection))


def segments(ax: Axes, colour: str) -> list[Values]:
    """Return the segments of thin lines of a colour."""
    lines = lines_of(ax)
    colours = [to_hex(rgba) for rgba in lines.get_colors()]
    colours = colours * len(lines.get_segments()) if len(colours) == 1 else colours
    drawn = zip(lines.get_segments(), colours, strict=True)
    return [points for points, its in drawn if its == to_hex(colour)]


def notes(ax: Axes) -> str:
    return "\n".join(text.get_text() for text in ax.texts)


def title_of(grid: FacetGrid[xr.DataArray]) -> str:
    return grid.fig.get_suptitle()


def labels(grid: FacetGrid[xr.DataArray]) -> list[str]:
    """Return the labels of the legend."""
    return [text.get_text() for text in grid.figlegend.get_texts()]
