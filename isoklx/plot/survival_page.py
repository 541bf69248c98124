"""Where things are on a page of survival curves: panels, labels, and the numbers at risk."""

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
"""Width of one panel and of several, where no other is given."""

PANEL_HEIGHT, LOWEST = 112.0, 64.0
"""Of a panel: higher for the names beside it; without names, lower where the page needs it."""

NARROW, LEAST_WIDTH = 90.0, 64.0
"""Width of a panel: beside others, and by itself no narrower."""

LABEL, SHORT_LABEL = "token (log scale)", "token (log)"

LETTER, LINE = 0.58, 1.3
"""Mean width of a letter and height of a line, over the size of the font."""


@dataclass(frozen=True)
class SurvivalPage:
    """The page. All lengths are in points, so that no text meets another at any size of the font.

    Parameters
    ----------
    curves : Dataset
        What `isoklx.survival` returns, in memory, its ``fork`` or ``token`` renamed ``time``.
    facets : list of str
        The one or two of its dimensions that panels differ in: columns, then rows.
    page : Page
    """

    curves: xr.Dataset
    facets: list[Hashable]
    page: Page

    def empty_grid(self) -> Grid:
        """Make empty panels, under the title of the curves."""
        row = self._around(self._title_lines) + self._panel_height
        height = self._rows * row + self._beside_rows
        figure = self.page.new(self._wanted / 72, height / 72)
        axs = figure.subplots(self._rows, self._columns, squeeze=False, sharex=True, sharey=True)
        self.page.put_title(figure, self.curves.attrs["title"])
        figure.legend(
            handles=self._handles,
            ncols=self._legend_columns,
            title=self._note(),
            fontsize=self._small,
            title_fontsize=self._small,
            loc="outside lower left",
            alignment="left",
            frameon=False,
        )
        return Grid(self.curves, self._names, figure, axs)

    def set_axes(self, ax: Axes, name: Mapping[Hashable, Any]) -> None:
        """Scale, limit and label the axes of the panel of that name."""
        set_fork_scale(ax, self.curves["time"].values, self._ticks)
        ax.set_ylim(-0.04, 1.05)
        ax.set_yticks([0, 0.5, 1])
        pad = max(float(mpl.rcParams["xtick.major.pad"]), 0.3 * self._text)
        ax.tick_params(labelsize=self._text, labelbottom=True, pad=pad)
        ax.spines[["top", "right"]].set_visible(False)
        lines = [line for dim, value in name.items() for line in self._said(dim, value)]
        ax.set_title("\n".join(lines), fontsize=self._text)
        narrow = self._panel_width < 1.1 * LETTER * self._text * len(LABEL)
        ax.set_xlabel(SHORT_LABEL if narrow else LABEL, fontsize=self._text, labelpad=1)
        if _is_first(ax):
            ax.set_ylabel("share alive", fontsize=self._text)

    def label_ends(self, ax: Axes, lines: Sequence[Line2D]) -> None:
        """Name each dose where its curve ends, the names apart from one another.

        Other curves have a legend. On a page with no room the rows of numbers name the doses.
        """
        if not self._labels_fit:
            return
        drawn = [np.column_stack(line.get_data()) for line in lines]
        ends = [line[~np.isnan(line[:, 1])][-1] for line in drawn]
        low, high = ax.get_ylim()
        wanted = [(y - low) / (high - low) for _, y in ends]
        apart = self._line / self._panel_height
        beside = ScaledTranslation(7 / 72, 0, ax.figure.dpi_scale_trans)
        for line, end, height in zip(lines, ends, _apart(wanted, apart), strict=True):
            colour: Any = line.get_color()
            ax.annotate(
                str(line.get_label()),
                end,
                (1, height),
                textcoords=ax.transAxes + beside,
                fontsize=self._text,
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
        """Write below each tick how many trajectories of each dose were at risk there."""
        style: dict[str, Any] = {
            "textcoords": "offset points",
            "va": "center",
            "fontsize": self._text,
            "annotation_clip": False,
        }
        below = style | {"xycoords": ax.get_xaxis_transform(), "ha": "center"}
        beside = style | {"xycoords": "axes fraction", "ha": "right"}
        left = -0.5 * self._count_width - 2
        # Beside the label of the axis, and then a line for each dose.
        y = -self._under_ticks
        if _is_first(ax):
            ax.annotate("at risk", (0, 0), (left, y), **beside)
        counts = panel["at_risk"].sel(time=self._ticks).transpose(self.hue, "time").values
        for look, row, n in zip(self.looks, counts, panel["n"].values, strict=True):
            colour = small_print(look["color"])
            y -= self._line
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
        """Draw a piece of a curve beside its row of numbers."""
        place = ax.transAxes + ScaledTranslation(right / 72, y / 72, ax.figure.dpi_scale_trans)
        length = self._row_label(self._text) / self._panel_width
        ax.plot(
            [-length, -length / 2, 0],
            [0, 0, 0],
            **{**look, "label": "_sample"},
            markevery=[1],
            markersize=0.5 * self._text,
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
        """Colour, dashes, marker and name of each curve of a panel."""
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
        """Lines of the legend; none for doses, which are named in the panels."""
        looks = [] if self.hue == "alpha" else self.looks
        return [Line2D([], [], markersize=3, **look) for look in looks]

    @property
    def _legend_columns(self) -> int:
        names = [str(handle.get_label()) for handle in self._handles]
        return columns_of(names, self._width / 72, self._small) if names else 1

    def _around(self, title_lines: int) -> float:
        """Height that a row of panels needs above and below the panels themselves."""
        above = self._line * max(1, title_lines) + 8
        return above + self._under_ticks + self._line * (len(self.looks) + 1)

    @property
    def _beside_rows(self) -> float:
        """Height of the title, the legend and the note."""
        lines = self._note().count("\n") + 1 - (-len(self._handles) // self._legend_columns)
        title = self.page.title_height(self.curves.attrs["title"], self._wanted / 72)
        return LINE * self._small * lines + 6 + 72 * title

    @property
    def _preferred(self) -> int:
        n = self.curves.sizes[self.facets[0]]
        if len(self.facets) == 2:
            return n
        return 2 if n == 4 else min(n, 3)

    @cached_property
    def _columns(self) -> int:
        return self._columns_with(labels=self._labels_fit)

    def _columns_with(self, *, labels: bool) -> int:
        """As many panels beside each other as fit; of two facets all, as they are a table."""
        if len(self.facets) == 2:
            return self._preferred
        least = NARROW if labels else max(LEAST_WIDTH, LETTER * self._text * len(SHORT_LABEL))
        columns = range(self._preferred, 1, -1)
        return next((n for n in columns if self._width_of(n, self._text, labels) > least), 1)

    @cached_property
    def _labels_fit(self) -> bool:
        """Return whether doses are named where their curves end.

        They are, unless panels get too narrow for that, or the page too high: more panels fit
        beside each other without.
        """
        if self.hue != "alpha":
            return False
        columns = self._columns_with(labels=True)
        if len(self.facets) == 2:
            return self._width_of(columns, SMALLEST, labels=True) > LEAST_WIDTH
        height = -(-self._panels // columns) * (self._around(1) + PANEL_HEIGHT)
        # The title and the note take about an inch.
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
        """What each panel is of; None for a place without one."""
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
    def _text(self) -> float:
        """Size of the words: the style's, smaller where the page is too narrow for them."""
        columns = self._preferred if len(self.facets) == 2 else 1
        size, labels = points("legend"), self.hue == "alpha"
        while size > SMALLEST and self._width_of(columns, size, labels) <= LEAST_WIDTH:
            size = max(SMALLEST, size - 0.25)
        return size

    @property
    def _small(self) -> float:
        """Size of the note below."""
        return fitting(points("note"), self._width / 72)

    @property
    def _line(self) -> float:
        return LINE * self._text

    @property
    def _panel_height(self) -> float:
        if self._labels_fit:
            return max(PANEL_HEIGHT, self._line * len(self.looks))
        fitting = (72 * PAGE_HEIGHT - self._beside_rows) / self._rows
        return min(PANEL_HEIGHT, max(LOWEST, fitting - self._around(self._title_lines)))

    @property
    def _wanted(self) -> float:
        return COLUMN if self._preferred == 1 else PAGE * max(1, self._preferred / 4)

    @property
    def _width(self) -> float:
        return 72 * self.page.inches(self._wanted / 72)

    def _width_of(self, columns: int, text: float, labels: bool) -> float:
        """Width of a panel, were there so many columns, words so large and names at the ends."""
        row = self._row_label(text)
        return (self._width - row - 2.6 * text) / columns - labels * row - 18

    def _row_label(self, text: float) -> float:
        """Width of what stands left of a row of numbers: the dose, or a piece of the curve."""
        if self.hue != "alpha":
            return 3 * text
        return LETTER * text * max(len(look["label"]) for look in self.looks)

    @property
    def _count_width(self) -> float:
        largest = max(int(self.curves["n"].max()), int(self.curves["time"].max()))
        return LETTER * self._text * len(str(largest))

    @property
    def _under_ticks(self) -> float:
        """From the axis to the middle of its label: the ticks, and their labels."""
        return 8 + 1.67 * self._text

    @property
    def _panel_width(self) -> float:
        width = self._width_of(self._columns, self._text, self._labels_fit)
        return max(width, LEAST_WIDTH / 2)

    @cached_property
    def _ticks(self) -> list[int]:
        """Tokens at which numbers fit beside each other."""
        apart = (self._count_width + 0.7 * self._text) / self._panel_width
        return fork_ticks(self.curves["time"].values, apart)

    @property
    def _title_lines(self) -> int:
        return sum(
            max(
                len(self._said(dim, value))
                for value in np.atleast_1d(self.curves[dim].values).tolist()
            )
            for dim in self.facets
        )

    def _said(self, dim: Hashable, value: Any) -> list[str]:
        """Lines of a panel's title; none where there is but one value, which the heading says."""
        if self.curves[dim].size == 1:
            return []
        text = dose(value) if dim == "alpha" else literal(label_name(str(dim), value))
        return textwrap.wrap(text, int((self._panel_width + 10) / (LETTER * self._text)))

    def _sure(self) -> str:
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
            f"{self.curves.attrs['cells']} trajectories. {self._sure()} A whisker is the last one. "
            "Ticks: rollouts that ended before the window. Curves that coincide take turns in "
            "dashes."
        )
        if early.any():
            note += " Circles: ends of curves, with the last rollout at risk."
        if self.hue == "alpha" and not self._labels_fit:
            note += " Colours are those of the numbers."
        if self.curves.attrs.get("doses"):
            note += f" {self.curves.attrs['doses']}."
        return "\n".join(textwrap.wrap(note, letters_in(self._width / 72 - 0.1, self._small)))


def _is_first(ax: Axes) -> bool:
    place = ax.get_subplotspec()
    return place is not None and place.is_first_col()


def _apart(wanted: Sequence[float], distance: float) -> list[float]:
    """Heights in the order of those wanted, at least `distance` from one another; 1 is the top."""
    order = np.argsort(wanted, kind="stable")
    steps = distance * np.arange(order.size)
    spread = np.maximum.accumulate(np.asarray(wanted)[order] - steps) + steps
    top = 1 + distance / 2 - steps[::-1]
    placed = np.empty(order.size)
    placed[order] = np.minimum(spread, top)
    return [float(height) for height in placed]
