"""The grid of panels: one column per dose, one row per quantity (and group of cells)."""

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
    """FacetGrid of given panels, with the drawn numbers in its ``data``.

    The constructor of xarray's FacetGrid always makes a new figure, and its ``map`` lays the figure
    out and writes titles; this one does neither. `names` are the ``name_dicts``, with None for a
    place without a panel.
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


PAGE = 7.0  # inches: preferred width of all panels together
NARROWEST, WIDEST = 1.15, 3.4  # inches: width of one panel
MARGIN = 0.7  # inches: left of the panels
MOST_COLUMNS = 8
"""Panels side by side, at most."""

MOST_ROWS = 48
"""Maximum number of rows: two for each of 24 groups take a minute to draw."""

LOWEST = 0.6
"""Minimum fraction of its height to which a row may shrink to fit the page."""

LONGEST_LABEL = 22
"""Characters along the height of a row."""

NOTE = "note"

Values = npt.NDArray[Any]


@dataclass(frozen=True)
class Row:
    """A row of panels."""

    name: str
    height: float  # inches, without the labels below
    kind: str = "kl"  # rows of one kind share the y axis


def facets(rows: Sequence[Row], drawn: xr.Dataset, page: Page, notes: int, legend: int) -> Grid:
    """Make empty panels; doses that do not fit side by side continue in further rows.

    `drawn` has the doses as ``alpha``, and the attributes ``window``, ``title`` and ``by`` (empty
    if rows are not groups). `notes` and `legend` are the lines of notes above a panel and the
    entries of the legend to reserve height for. The ``name_dicts`` have the keys ``row`` and
    ``alpha``.
    """
    if len(rows) > MOST_ROWS:
        raise DatasetError(
            f"at most {MOST_ROWS} rows of panels can be drawn, got {len(rows)} by "
            f"{drawn.attrs['by']}: select fewer cells, or group by another label"
        )
    alphas = drawn["alpha"].values.tolist()
    drawn = drawn.assign_coords(row=[row.name for row in rows])
    beside = min(len(alphas), MOST_COLUMNS)
    wanted = min(max(PAGE / beside, NARROWEST), WIDEST) * beside + MARGIN
    inches = page.inches(wanted)
    # As many panels per line as fit, then equally many in each line.
    columns = max(1, min(len(alphas), MOST_COLUMNS, math.floor((inches - MARGIN) / NARROWEST)))
    columns = -(-len(alphas) // -(-len(alphas) // columns))
    chunks = [alphas[start : start + columns] for start in range(0, len(alphas), columns)]
    heights = [row.height for _ in chunks for row in rows]
    words = 0.42 + (notes + 2) * points("note") * LINE / 72
    below = -(-legend // max(1, int(inches / 1.4))) * points("legend") * LINE / 72
    height = len(chunks) * words + below + 0.2 + page.title_height(drawn.attrs["title"], wanted)
    if page.width is not None and not drawn.attrs["by"]:
        # Without groups, rows may shrink; group names beside the rows need the full height.
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
    """Return the panels of a row, by dose."""
    return {
        name["alpha"]: ax
        for ax, name in zip(grid.axs.flat, grid.name_dicts.flat, strict=True)
        if name is not None and name["row"] == row
    }


@contextmanager
def closed_on_error(grid: Grid, page: Page) -> Iterator[None]:
    """Close the figure on an error, so that a notebook does not show it half-drawn."""
    try:
        yield
    except BaseException:
        if page.subfigure is None:
            plt.close(grid.fig)
        raise


def row_name(what: str, label: str) -> str:
    """Name the row that shows a quantity of a group of cells, or of all cells."""
    return f"{what} of {label}" if label else what


def label_row(grid: Grid, row: str, what: str, label: str = "") -> None:
    """Label the y axis of a row, with the name of its group above."""
    text = f"{literal(label, LONGEST_LABEL)}\n{what}" if label else what
    for ax in panels_of(grid, row).values():
        if _in_first_column(ax):
            ax.set_ylabel(text, fontsize=points("label"))


def put_title(grid: Grid, page: Page) -> None:
    """Put the figure title above all panels, and panel titles above their finished notes."""
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
    """Put one legend below all panels; a tuple is a single entry of several colours."""
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
    """Return a legend entry without a line."""
    return Line2D([], [], linestyle="none", label=text)


def note(ax: Axes, text: str) -> None:
    """Append a line to the notes above the right corner of a panel."""
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
    """Note the numbers of trajectories and of distinct ones in each group of a panel."""
    # NaN: the group is in another row.
    counts = np.nan_to_num(np.atleast_1d([n, n_distinct])).astype(int).reshape(2, -1)
    counts = counts[:, counts[0] > 0]
    if counts.size:
        sizes = {"n": ("group", counts[0]), "n_distinct": ("group", counts[1])}
        each = " each" if counts.shape[1] > 1 else ""
        note(ax, f"{trajectories(xr.Dataset(sizes))}{each}")


def notes_of(ax: Axes) -> list[Text]:
    """Return the notes above a panel."""
    return [text for text in ax.texts if text.get_gid() == NOTE]


def say_why_empty(ax: Axes, text: str) -> None:
    """Write a text into the middle of an empty panel."""
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
    """Share the token axis among all panels, and the y axis among panels of one kind."""
    window = int(grid.data.attrs["window"])
    first: dict[str, Axes] = {}
    whole = grid.axs[0, 0]
    for row in rows:
        panels = panels_of(grid, row.name)
        for alpha, ax in panels.items():
            ax.spines[["top", "right"]].set_visible(False)
            last = row is rows[-1]
            ax.tick_params(
                labelsize=points("tick"), labelleft=_in_first_column(ax), labelbottom=last
            )
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
    """Label the x axis once per line of panels, in the middle."""
    lines: dict[int, list[Axes]] = {}
    for ax in axes:
        lines.setdefault(ax.get_subplotspec().rowspan.start, []).append(ax)  # type: ignore[union-attr]
    for line in lines.values():
        # Figure.supxlabel would overlap a legend.
        middle, is_between = divmod(len(line) - 1, 2)
        x = 1.0 if is_between else 0.5
        line[middle].set_xlabel("token", fontsize=points("label"), x=x, labelpad=1)


def _in_first_column(ax: Axes) -> bool:
    place = ax.get_subplotspec()
    return place is not None and place.is_first_col()
