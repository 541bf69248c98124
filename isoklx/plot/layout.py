"""The grid of panels: doses as columns, what is measured (of each group of cells) as rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.legend_handler import HandlerTuple
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from xarray.plot import FacetGrid

from isoklx.errors import DatasetError
from isoklx.plot.page import LINE, PAGE_HEIGHT, AnyFigure, Page, columns_of, points
from isoklx.plot.titles import dose, literal, trajectories


class Grid(FacetGrid[xr.Dataset]):
    """A FacetGrid of given panels, whose ``data`` are the numbers that were drawn.

    xarray's own always makes a new figure, lays it out by itself once ``map`` is used, and would
    write its own titles then.

    Parameters
    ----------
    data : Dataset
        What was drawn; it has a coordinate for each key of the names.
    names : array of dict or None
        Which part of it a panel shows; None for a place without a panel.
    figure : Figure or SubFigure
    axs : array of Axes
        Of the shape of the names.
    """

    def __init__(
        self,
        data: xr.Dataset,
        names: npt.NDArray[Any],
        figure: AnyFigure,
        axs: npt.NDArray[Any],
    ) -> None:
        self.data = data
        self.name_dicts = names
        self.fig = figure  # type: ignore[assignment]
        self.axs = axs
        keys = list(dict.fromkeys(key for name in names.flat for key in name or {}))
        self.row_names = data[keys[0]].values.tolist() if len(keys) > 1 else []
        self.col_names = data[keys[-1]].values.tolist()
        self.figlegend = self.quiverkey = self.cbar = None
        self._single_group = keys[0] if len(keys) == 1 else False
        self._nrow, self._ncol = axs.shape
        self._row_var, self._col_var = (keys[0] if len(keys) > 1 else None), keys[-1]
        self._col_wrap = self._x_var = self._y_var = self._hue_var = self._cmap_extend = None
        self.row_labels, self.col_labels = [None] * self._nrow, [None] * self._ncol
        self._mappables = []
        self._finalized = True


PAGE = 7.0
NARROWEST, WIDEST = 1.15, 3.4
MARGIN = 0.7
MOST_COLUMNS = 8
"""Inches: width of all panels and of one, and what is left of them; and panels beside each other,
where no width is given."""

MOST_ROWS = 48
"""Rows of panels: two for each of 24 groups take a minute, and no page is so high."""

LOWEST = 0.6
"""Of its height, what a row has at least where a width was given and the page would be too low."""

LONGEST_LABEL = 22
"""Letters along the height of a row."""

NOTE = "note"

Values = npt.NDArray[Any]


@dataclass(frozen=True)
class Row:
    """A row of panels.

    Parameters
    ----------
    name : str
        Its name in the ``name_dicts`` of the grid.
    height : float
        In inches, without the words below.
    axis : {"token", "fork"}
        What its x axis is of.
    """

    name: str
    height: float
    kind: str = "kl"


def facets(rows: Sequence[Row], drawn: xr.Dataset, page: Page, notes: int, legend: int) -> Grid:
    """Make empty panels; where doses do not fit beside each other, they go on in further rows.

    Parameters
    ----------
    rows : sequence of Row
    drawn : Dataset
        The numbers that will be drawn; of it are taken ``alpha`` and the attributes ``window``,
        ``title``, and ``by``, which is empty where rows are not of groups.
    page : Page
    notes, legend : int
        Lines of notes above the panels, and entries of the legend, to leave room for.

    Returns
    -------
    Grid
        Its ``name_dicts`` say which ``row`` and ``alpha`` a panel is of.

    Raises
    ------
    DatasetError
        When there are too many rows.
    """
    if len(rows) > MOST_ROWS:
        raise DatasetError(
            f"{len(rows)} rows of panels by {drawn.attrs['by']}, and at most {MOST_ROWS} can be "
            "drawn: select fewer cells, or group by another label"
        )
    alphas = drawn["alpha"].values.tolist()
    drawn = drawn.assign_coords(row=[row.name for row in rows])
    beside = min(len(alphas), MOST_COLUMNS)
    wanted = min(max(PAGE / beside, NARROWEST), WIDEST) * beside + MARGIN
    inches = page.inches(wanted)
    # Panels below each other are as many in each row as can be.
    columns = max(1, min(len(alphas), MOST_COLUMNS, math.floor((inches - MARGIN) / NARROWEST)))
    columns = -(-len(alphas) // -(-len(alphas) // columns))
    chunks = [alphas[start : start + columns] for start in range(0, len(alphas), columns)]
    heights = [row.height for _ in chunks for row in rows]
    words = 0.42 + (notes + 2) * points("note") * LINE / 72
    below = -(-legend // max(1, int(inches / 1.4))) * points("legend") * LINE / 72
    height = len(chunks) * words + below + 0.2 + page.title_height(drawn.attrs["title"], wanted)
    if page.width is not None and not drawn.attrs["by"]:
        # Names of groups, beside their rows, need all of the height.
        fitting = (PAGE_HEIGHT - height) / sum(heights)
        heights = [min(1, max(LOWEST, fitting)) * each for each in heights]
    figure = page.new(wanted, height + sum(heights))
    axs = figure.subplots(
        len(heights), columns, squeeze=False, gridspec_kw={"height_ratios": heights}
    )
    names = np.full(axs.shape, None, dtype=object)
    for i, chunk in enumerate(chunks):
        for j, row in enumerate(rows):
            for k, alpha in enumerate(chunk):
                names[i * len(rows) + j, k] = {"row": row.name, "alpha": alpha}
    grid = Grid(drawn, names, figure, axs)
    _set_axes(grid, rows)
    return grid


def panels_of(grid: Grid, row: str) -> dict[float, Axes]:
    """The panels of a row, by their doses."""
    return {
        name["alpha"]: ax
        for ax, name in zip(grid.axs.flat, grid.name_dicts.flat, strict=True)
        if name is not None and name["row"] == row
    }


@contextmanager
def closed_on_error(grid: Grid, page: Page) -> Iterator[None]:
    """Leave no half-drawn figure behind, which a notebook would show."""
    try:
        yield
    except BaseException:
        if page.subfigure is None:
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


def label_row(grid: Grid, row: str, what: str, label: str = "") -> None:
    """Label the y axis of a row, with the name of its group above."""
    text = f"{literal(label, LONGEST_LABEL)}\n{what}" if label else what
    for ax in panels_of(grid, row).values():
        if _is_first(ax):
            ax.set_ylabel(text, fontsize=points("label"))


def put_title(grid: Grid, page: Page) -> None:
    """Put the title above all, and those of panels above their notes, once these are written."""
    top = grid.name_dicts[0, 0]["row"]
    axes = list(panels_of(grid, top).values())
    lines = max(
        (text.get_text().count("\n") + 1 for ax in axes for text in notes_of(ax)), default=0
    )
    for ax in axes:
        pad = 5 + LINE * points("note") * lines
        ax.set_title(ax.get_title(), fontsize=points("panel"), pad=pad)
    page.put_title(grid.fig, grid.data.attrs["title"])


def put_legend(grid: Grid, handles: Sequence[Artist | tuple[Artist, ...]]) -> None:
    """Put one legend for all panels under them; a tuple is one entry of several colours."""
    entries: list[Any] = list(handles)
    labels = [str((each[0] if isinstance(each, tuple) else each).get_label()) for each in entries]
    size = points("legend")
    grid.figlegend = grid.fig.legend(
        entries,
        labels,
        handler_map={tuple: HandlerTuple(ndivide=None, pad=0)},
        loc="outside lower center",
        ncols=columns_of(labels, grid.fig.bbox.width / grid.fig.dpi, size),
        fontsize=size,
        frameon=False,
    )


def words_only(text: str) -> Artist:
    """An entry of a legend that explains no line."""
    return Line2D([], [], linestyle="none", label=text)


def note(ax: Axes, text: str) -> None:
    """Write a line above the right corner of a panel, below the lines that are there already."""
    for earlier in notes_of(ax):
        earlier.set_text(f"{earlier.get_text()}\n{text}")
        return
    ax.annotate(
        text,
        (1, 1),
        (0, 2),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="right",
        fontsize=points("note"),
        gid=NOTE,
    )


def note_size(ax: Axes, n: Values, n_distinct: Values) -> None:
    """Write above a panel how many trajectories each of its groups has, and how many distinct."""
    # A group that is not in this row has NaN.
    counts = np.nan_to_num(np.atleast_1d([n, n_distinct])).astype(int).reshape(2, -1)
    counts = counts[:, counts[0] > 0]
    if counts.size:
        sizes = {"n": ("group", counts[0]), "n_distinct": ("group", counts[1])}
        each = " each" if counts.shape[1] > 1 else ""
        note(ax, f"{trajectories(xr.Dataset(sizes))}{each}")


def notes_of(ax: Axes) -> list[Text]:
    """What was noted above a panel."""
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


def _set_axes(grid: Grid, rows: Sequence[Row]) -> None:
    """Share one token axis between all panels, and a y axis between those of a kind."""
    window = int(grid.data.attrs["window"])
    first: dict[str, Axes] = {}
    whole = grid.axs[0, 0]
    for row in rows:
        panels = panels_of(grid, row.name)
        for alpha, ax in panels.items():
            ax.spines[["top", "right"]].set_visible(False)
            last = row is rows[-1]
            ax.tick_params(labelsize=points("tick"), labelleft=_is_first(ax), labelbottom=last)
            if ax is not whole:
                ax.sharex(whole)
            if row.kind in first:
                ax.sharey(first[row.kind])
            first.setdefault(row.kind, ax)
            if row is rows[0]:
                ax.set_title(dose(alpha), fontsize=points("panel"))
    _label_tokens(list(panels_of(grid, rows[-1].name).values()))
    for ax, name in zip(grid.axs.flat, grid.name_dicts.flat, strict=True):
        ax.set_visible(name is not None)
    whole.xaxis.set_major_locator(MaxNLocator(nbins=3, integer=True, steps=[1, 2, 2.5, 5, 10]))
    whole.set_xlim(-0.03 * window, 1.03 * window)


def _label_tokens(axes: Sequence[Axes]) -> None:
    """Name the x axis of each line of panels, in its middle."""
    lines: dict[int, list[Axes]] = {}
    for ax in axes:
        lines.setdefault(ax.get_subplotspec().rowspan.start, []).append(ax)  # type: ignore[union-attr]
    for line in lines.values():
        # A figure's own label would not make way for a legend.
        middle, is_between = divmod(len(line) - 1, 2)
        x = 1.0 if is_between else 0.5
        line[middle].set_xlabel("token", fontsize=points("label"), x=x, labelpad=1)


def _is_first(ax: Axes) -> bool:
    place = ax.get_subplotspec()
    return place is not None and place.is_first_col()
