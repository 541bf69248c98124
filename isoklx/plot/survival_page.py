"""Layout of the survival figure: panels, labels, and the numbers at risk."""

from __future__ import annotations

import textwrap
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.transforms import ScaledTranslation

from isoklx.plot.axes import fork_ticks, set_fork_scale
from isoklx.plot.layout import Grid
from isoklx.plot.page import (
    PAGE_HEIGHT,
    SMALLEST,
    Page,
    columns_of,
    fitting,
    letters_in,
    points,
)
from isoklx.plot.palette import dose_colours, group_styles, small_print
from isoklx.plot.titles import dose, label_name, literal
from isoklx.stats.assumptions import of_survival

COLUMN, PAGE = 72 * 3.5, 72 * 7.0
"""Default width of a figure of one panel and of several."""

PANEL_HEIGHT, LOWEST = 112.0, 64.0
"""Default height of a panel, and the minimum to which it may shrink to fit the page."""

NARROW, LEAST_WIDTH = 90.0, 64.0
"""Minimum width of a panel beside others, and of any panel."""

LABEL, SHORT_LABEL = "token (log scale)", "token (log)"

LETTER, LINE = 0.58, 1.3
"""Mean width of a letter and height of a line, as fractions of the font size."""


@dataclass(frozen=True)
class SurvivalPage:
    """Layout of the panels, with lengths in points so that no texts overlap at any font size."""

    curves: xr.Dataset
    facets: list[Hashable]
    """One or two dimensions that the panels differ in: columns, then rows."""
    page: Page

    def empty_grid(self) -> Grid:
        """Make the figure with its title, legend and empty panels."""
        row = self._labels_height(self._title_lines) + self._panel_height
        height = self._rows * row + self._margins_height
        figure = self.page.new(self._default_width / 72, height / 72)
        axs = figure.subplots(self._rows, self._columns, squeeze=False, sharex=True, sharey=True)
        self.page.put_title(figure, self.curves.attrs["title"])
        figure.legend(
            handles=self._handles,
            ncols=self._legend_columns,
            title=self._note(),
            fontsize=self._small_size,
            title_fontsize=self._small_size,
            loc="outside lower left",
            alignment="left",
            frameon=False,
        )
        return Grid(self.curves, self._names, figure, axs)

    def set_axes(self, ax: Axes, name: Mapping[Hashable, Any]) -> None:
        """Set scale, limits and labels of the axes of a panel."""
        set_fork_scale(ax, self.curves["time"].values, self._ticks)
        ax.set_ylim(-0.04, 1.05)
        ax.set_yticks([0, 0.5, 1])
        pad = max(float(mpl.rcParams["xtick.major.pad"]), 0.3 * self._font_size)
        ax.tick_params(labelsize=self._font_size, labelbottom=True, pad=pad)
        ax.spines[["top", "right"]].set_visible(False)
        lines = [line for dim, value in name.items() for line in self._panel_title(dim, value)]
        ax.set_title("\n".join(lines), fontsize=self._font_size)
        narrow = self._panel_width < 1.1 * LETTER * self._font_size * len(LABEL)
        ax.set_xlabel(SHORT_LABEL if narrow else LABEL, fontsize=self._font_size, labelpad=1)
        if _is_first(ax):
            ax.set_ylabel("share alive", fontsize=self._font_size)

    def label_ends(self, ax: Axes, lines: Sequence[Line2D]) -> None:
        """Name each dose at the end of its curve, without overlap, if there is room."""
        if not self._labels_fit:
            return
        drawn = [np.column_stack(line.get_data()) for line in lines]
        ends = [line[~np.isnan(line[:, 1])][-1] for line in drawn]
        low, high = ax.get_ylim()
        wanted = [(y - low) / (high - low) for _, y in ends]
        apart = self._line_height / self._panel_height
        beside = ScaledTranslation(7 / 72, 0, ax.figure.dpi_scale_trans)
        for line, end, height in zip(lines, ends, _spread(wanted, apart), strict=True):
            colour: Any = line.get_color()
            ax.annotate(
                str(line.get_label()),
                end,
                (1, height),
                textcoords=ax.transAxes + beside,
                fontsize=self._font_size,
                color=small_print(colour),
                va="center",
                annotation_clip=False,
                arrowprops={
                    "arrowstyle": "-",
                    "linewidth": 0.5,
                    "color": colour,
                    "relpos": (0, 0.5),
                    "shrinkA": 0,
                    "shrinkB": 1,
                },
            )

    def count_at_risk(self, ax: Axes, panel: xr.Dataset) -> None:
        """Write the number of trajectories at risk below each tick, one row per curve."""
        style: dict[str, Any] = {
            "textcoords": "offset points",
            "va": "center",
            "fontsize": self._font_size,
            "annotation_clip": False,
        }
        below = style | {"xycoords": ax.get_xaxis_transform(), "ha": "center"}
        beside = style | {"xycoords": "axes fraction", "ha": "right"}
        left = -0.5 * self._count_width - 2
        # The first row stands beside the axis label, then one row per curve.
        y = -self._under_ticks
        if _is_first(ax):
            ax.annotate("at risk", (0, 0), (left, y), **beside)
        counts = panel["at_risk"].sel(time=self._ticks).transpose(self.hue, "time").values
        for look, row, n in zip(self.looks, counts, panel["n"].values, strict=True):
            colour = small_print(look["color"])
            y -= self._line_height
            for tick, count in zip(self._ticks, row, strict=True):
                text = f"{count}" if n else "\N{EN DASH}"
                ax.annotate(text, (tick, 0), (0, y), color=colour, **below)
            if not _is_first(ax):
                continue
            if self.hue == "alpha":
                ax.annotate(look["label"], (0, 0), (left, y), color=colour, **beside)
            else:
                self._show_sample(ax, look, left, y)

    def _show_sample(self, ax: Axes, look: Mapping[str, Any], right: float, y: float) -> None:
        """Draw a sample of the curve beside its row of numbers."""
        place = ax.transAxes + ScaledTranslation(right / 72, y / 72, ax.figure.dpi_scale_trans)
        length = self._row_label(self._font_size) / self._panel_width
        ax.plot(
            [-length, -length / 2, 0],
            [0, 0, 0],
            **{**look, "label": "_sample"},
            markevery=[1],
            markersize=0.5 * self._font_size,
            linewidth=1.2,
            transform=place,
            clip_on=False,
        )

    @property
    def hue(self) -> str:
        """Dimension along which curves share a panel."""
        return str(self.curves.attrs["hue"])

    @cached_property
    def looks(self) -> list[dict[str, Any]]:
        """Colour, line style, marker and name of each curve of a panel."""
        labels = self.curves[self.hue].values.tolist()
        if self.hue == "alpha":
            return [
                {"color": colour, "linestyle": "-", "marker": "None", "label": dose(alpha)}
                for alpha, colour in dose_colours(labels).items()
            ]
        styles = group_styles([((self.hue, label),) for label in labels])
        return [
            style | {"label": literal(label_name(self.hue, label))}
            for label, style in zip(labels, styles, strict=True)
        ]

    @cached_property
    def _handles(self) -> list[Line2D]:
        """Legend handles; empty for doses, which are named in the panels."""
        looks = [] if self.hue == "alpha" else self.looks
        return [Line2D([], [], markersize=3, **look) for look in looks]

    @property
    def _legend_columns(self) -> int:
        names = [str(handle.get_label()) for handle in self._handles]
        return columns_of(names, self._width / 72, self._small_size) if names else 1

    def _labels_height(self, title_lines: int) -> float:
        """Return the height of the labels above and below a row of panels."""
        above = self._line_height * max(1, title_lines) + 8
        return above + self._under_ticks + self._line_height * (len(self.looks) + 1)

    @property
    def _margins_height(self) -> float:
        """Height of the title, the legend and the note."""
        lines = self._note().count("\n") + 1 - (-len(self._handles) // self._legend_columns)
        title = self.page.title_height(self.curves.attrs["title"], self._default_width / 72)
        return LINE * self._small_size * lines + 6 + 72 * title

    @property
    def _preferred_columns(self) -> int:
        n = self.curves.sizes[self.facets[0]]
        if len(self.facets) == 2:
            return n
        return 2 if n == 4 else min(n, 3)

    @cached_property
    def _columns(self) -> int:
        return self._columns_with(labels=self._labels_fit)

    def _columns_with(self, *, labels: bool) -> int:
        """Return how many panels fit side by side; two facets form a table and always fit."""
        if len(self.facets) == 2:
            return self._preferred_columns
        least = NARROW if labels else max(LEAST_WIDTH, LETTER * self._font_size * len(SHORT_LABEL))
        columns = range(self._preferred_columns, 1, -1)
        return next((n for n in columns if self._width_of(n, self._font_size, labels) > least), 1)

    @cached_property
    def _labels_fit(self) -> bool:
        """Return whether doses are named at the ends of their curves."""
        # Not if panels become too narrow, or the page too high while more panels fit side by side
        # without names.
        if self.hue != "alpha":
            return False
        columns = self._columns_with(labels=True)
        if len(self.facets) == 2:
            return self._width_of(columns, SMALLEST, labels=True) > LEAST_WIDTH
        height = -(-self._panels // columns) * (self._labels_height(1) + PANEL_HEIGHT)
        # The title and the note need about an inch.
        fits = height <= 72 * (PAGE_HEIGHT - 1)
        return fits or columns == self._columns_with(labels=False)

    @property
    def _panels(self) -> int:
        return int(np.prod([self.curves.sizes[dim] for dim in self.facets]))

    @property
    def _rows(self) -> int:
        return -(-self._panels // self._columns)

    @cached_property
    def _names(self) -> Any:
        """Labels of each panel; None for an empty place."""
        labels = {dim: self.curves[dim].values.tolist() for dim in self.facets}
        if len(self.facets) == 2:
            col, row = self.facets
            found = [{row: r, col: c} for r in labels[row] for c in labels[col]]
        else:
            found = [{dim: each} for dim in self.facets for each in labels[dim]]
        names = np.full(self._rows * self._columns, None, dtype=object)
        names[: len(found)] = found
        return names.reshape(self._rows, self._columns)

    @cached_property
    def _font_size(self) -> float:
        """Font size: the style's, reduced if the page is too narrow for it."""
        columns = self._preferred_columns if len(self.facets) == 2 else 1
        size, labels = points("legend"), self.hue == "alpha"
        while size > SMALLEST and self._width_of(columns, size, labels) <= LEAST_WIDTH:
            size = max(SMALLEST, size - 0.25)
        return size

    @property
    def _small_size(self) -> float:
        """Font size of the note and legend."""
        return fitting(points("note"), self._width / 72)

    @property
    def _line_height(self) -> float:
        return LINE * self._font_size

    @property
    def _panel_height(self) -> float:
        if self._labels_fit:
            return max(PANEL_HEIGHT, self._line_height * len(self.looks))
        fitting = (72 * PAGE_HEIGHT - self._margins_height) / self._rows
        return min(PANEL_HEIGHT, max(LOWEST, fitting - self._labels_height(self._title_lines)))

    @property
    def _default_width(self) -> float:
        return (
            COLUMN if self._preferred_columns == 1 else PAGE * max(1, self._preferred_columns / 4)
        )

    @property
    def _width(self) -> float:
        return 72 * self.page.inches(self._default_width / 72)

    def _width_of(self, columns: int, text: float, labels: bool) -> float:
        """Return the width of a panel for a number of columns, font size and names at the ends."""
        row = self._row_label(text)
        return (self._width - row - 2.6 * text) / columns - labels * row - 18

    def _row_label(self, text: float) -> float:
        """Return the width of the label left of a row of numbers: a dose, or a sample line."""
        if self.hue != "alpha":
            return 3 * text
        return LETTER * text * max(len(look["label"]) for look in self.looks)

    @property
    def _count_width(self) -> float:
        largest = max(int(self.curves["n"].max()), int(self.curves["time"].max()))
        return LETTER * self._font_size * len(str(largest))

    @property
    def _under_ticks(self) -> float:
        """Distance from the axis to the middle of its label."""
        return 8 + 1.67 * self._font_size

    @property
    def _panel_width(self) -> float:
        width = self._width_of(self._columns, self._font_size, self._labels_fit)
        return max(width, LEAST_WIDTH / 2)

    @cached_property
    def _ticks(self) -> list[int]:
        """Tokens to label, far enough apart for the numbers below them."""
        apart = (self._count_width + 0.7 * self._font_size) / self._panel_width
        return fork_ticks(self.curves["time"].values, apart)

    @property
    def _title_lines(self) -> int:
        return sum(
            max(
                len(self._panel_title(dim, value))
                for value in np.atleast_1d(self.curves[dim].values).tolist()
            )
            for dim in self.facets
        )

    def _panel_title(self, dim: Hashable, value: Any) -> list[str]:
        """Return the lines of a panel's title; empty if the dimension has a single value."""
        if self.curves[dim].size == 1:
            return []
        text = dose(value) if dim == "alpha" else literal(label_name(str(dim), value))
        return textwrap.wrap(text, int((self._panel_width + 10) / (LETTER * self._font_size)))

    def _assumptions(self) -> str:
        counted = self.curves["n_distinct" if self.curves.attrs["cells"] == "distinct" else "n"]
        ran = counted.values > 0
        return of_survival(
            self.curves["ci_bound"].attrs["interval"],
            self.curves.attrs["metric"],
            counted.values[ran],
            self.curves["n_prompts"].values[ran],
            self.curves.attrs["ended"],
        )

    def _note(self) -> str:
        early = self.curves["observed_to"] < self.curves["horizon"]
        note = (
            "Kaplan\N{EN DASH}Meier with numbers at risk, over "
            f"{self.curves.attrs['cells']} trajectories. {self._assumptions()} Whisker: last "
            "interval. Ticks: rollouts that ended before the window. Coinciding curves alternate "
            "in dashes."
        )
        if early.any():
            note += " Circles: ends of curves, with the last rollout at risk."
        if self.hue == "alpha" and not self._labels_fit:
            note += " Colours match the numbers at risk."
        if self.curves.attrs.get("doses"):
            note += f" {self.curves.attrs['doses']}."
        return "\n".join(textwrap.wrap(note, letters_in(self._width / 72 - 0.1, self._small_size)))


def _is_first(ax: Axes) -> bool:
    place = ax.get_subplotspec()
    return place is not None and place.is_first_col()


def _spread(wanted: Sequence[float], distance: float) -> list[float]:
    """Move the wanted heights apart, to at least `distance` and at most 1, keeping their order."""
    order = np.argsort(wanted, kind="stable")
    steps = distance * np.arange(order.size)
    spread = np.maximum.accumulate(np.asarray(wanted)[order] - steps) + steps
    top = 1 + distance / 2 - steps[::-1]
    placed = np.empty(order.size)
    placed[order] = np.minimum(spread, top)
    return [float(height) for height in placed]
