"""The grid of panels: doses as columns, what is measured (of each group of cells) as rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.font_manager import font_scalings
from matplotlib.legend_handler import HandlerTuple
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from xarray.plot import FacetGrid

from isoklx.plot.page import points
from isoklx.plot.titles import dose, literal, title, trajectories

PAGE = 7.0
NARROWEST, WIDEST = 1.15, 3.4
MARGIN = 0.7
"""Inches: width of all panels and of one, and what is left of them."""

LEGEND_ENTRY = 1.3
"""Inches."""

LONGEST_LABEL = 22
"""Letters along the height of a row."""

NOTE_LINE = 7
"""Height of a line of a note, in points."""

NOTE = "note"

Values = npt.NDArray[Any]
Grid = FacetGrid[xr.DataArray]


def facets(heights: Mapping[str, float], alphas: Values, window: int) -> Grid:
    """Make empty panels.

    Parameters
    ----------
    heights : mapping of str to float
        Height of each row in inches, by its name.
    alphas : array of float
        Doses.
    window : int
        Where the token axis ends.

    Returns
    -------
    FacetGrid
        Its ``name_dicts`` say which ``row`` and ``alpha`` a panel is of.
    """
    template = xr.DataArray(
        np.zeros((len(heights), len(alphas))),
        coords={"row": list(heights), "alpha": list(alphas)},
        dims=["row", "alpha"],
    )
    width = min(max(PAGE / len(alphas), NARROWEST), WIDEST)
    figsize = (width * len(alphas) + MARGIN, sum(heights.values()) + 1.1)
    grid = FacetGrid(template, col="alpha", row="row", sharex=True, sharey="row", figsize=figsize)  # type: ignore[arg-type]
    grid.fig.set_layout_engine("constrained")
    grid.axs[0, 0].get_gridspec().set_height_ratios(list(heights.values()))
    for ax in grid.axs.flat:
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize="x-small")
        ax.xaxis.set_major_locator(MaxNLocator(nbins=3, integer=True, steps=[1, 2, 2.5, 5, 10]))
    for ax, alpha in zip(grid.axs[0], alphas, strict=True):
        ax.set_title(dose(alpha), fontsize="small")
    grid.axs[0, 0].set_xlim(-0.03 * window, 1.03 * window)
    # In the middle; a figure's own label would not make way for a legend.
    middle, is_between = divmod(len(alphas) - 1, 2)
    grid.axs[-1, middle].set_xlabel("token", fontsize="small", x=1.0 if is_between else 0.5)
    return grid


@contextmanager
def closed_on_error(grid: Grid) -> Iterator[None]:
    """Leave no half-drawn figure behind, which a notebook would show."""
    try:
        yield
    except BaseException:
        plt.close(grid.fig)
        raise


def row_name(what: str, label: str) -> str:
    """Name of the row that shows something of a group of cells, or of all.

    Examples
    --------
    >>> row_name("kl", "pca"), row_name("kl", "")
    ('kl of pca', 'kl')
    """
    return f"{what} of {label}" if label else what


def label_row(axes: npt.NDArray[Any], what: str, label: str = "") -> None:
    """Label the y axis of a row, with the name of its group above."""
    text = f"{literal(label, LONGEST_LABEL)}\n{what}" if label else what
    axes[0].set_ylabel(text, fontsize="small")


def put_title(grid: Grid, ds: xr.Dataset, what: str, *, size: str = "") -> None:
    """Put the title above all, from the cells of the figure, once all notes are written."""
    notes = [note.get_text() for ax in grid.axs[0] for note in _notes(ax)]
    lines = max((note.count("\n") + 1 for note in notes), default=0)
    for ax in grid.axs[0]:
        ax.set_title(ax.get_title(), fontsize="small", pad=5 + NOTE_LINE * lines)
    inches = grid.fig.get_figwidth() / font_scalings["small"]
    grid.fig.suptitle(title(ds, what, size=size, inches=inches), fontsize="small")


def put_legend(grid: Grid, handles: Sequence[Artist | tuple[Artist, ...]]) -> None:
    """Put one legend for all panels under them; a tuple is one entry of several colours."""
    entries: list[Any] = list(handles)
    columns = max(1, min(len(handles), int(grid.fig.get_figwidth() / LEGEND_ENTRY)))
    grid.figlegend = grid.fig.legend(
        entries,
        [(each[0] if isinstance(each, tuple) else each).get_label() for each in entries],
        handler_map={tuple: HandlerTuple(ndivide=None, pad=0)},
        loc="outside lower center",
        ncols=columns,
        fontsize="x-small",
        frameon=False,
    )


def note(ax: Axes, text: str) -> None:
    """Write a line above the right corner of a panel, below the lines that are there already."""
    for earlier in _notes(ax):
        earlier.set_text(f"{earlier.get_text()}\n{text}")
        return
    ax.annotate(
        text,
        (1, 1),
        (0, 2),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="right",
        fontsize="xx-small",
        gid=NOTE,
    )


def note_sizes(axes: npt.NDArray[Any], sizes: xr.Dataset) -> None:
    """Write above each panel of a row how many trajectories there are, and how many distinct."""
    for i, ax in enumerate(axes):
        here = sizes.isel(alpha=[i])
        if here["n"].any():
            note(ax, trajectories(here))


def _notes(ax: Axes) -> list[Text]:
    return [text for text in ax.texts if text.get_gid() == NOTE]


def say_why_empty(ax: Axes, text: str) -> None:
    """Write into the middle of a panel that has nothing else."""
    ax.text(
        0.5,
        0.5,
        text,
        transform=ax.transAxes,
        ha="center",
        va="center",
        fontsize=points("tick"),
    )
