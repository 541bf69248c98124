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

from isoklx.plot.fork_axis import fork_ticks, set_fork_scale
from isoklx.plot.grids import Grid
from isoklx.plot.page import SMALLEST, Page, fitting, letters_in, points
from isoklx.plot.palette import dose_colours, small_print
from isoklx.plot.titles import dose, label_name, literal
from isoklx.stats.assumptions import of_survival

COLUMN, PAGE = 72 * 3.5, 72 * 7.0
"""Width of one panel and of several, where no other is given."""

PANEL_HEIGHT, NARROW, LEAST_WIDTH = 112.0, 90.0, 64.0
"""Of a panel: higher where its labels need it; beside others, and by itself no narrower."""

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
        note, said = self._note(), self.curves.attrs["title"]
        bottom = LINE * self._small * _count_lines(note) + 6
        above = self._line * max(1, self._title_lines) + 8
        below = self._under_ticks + self._line * (self.curves.sizes["alpha"] + 1)
        height = self._rows * (above + self._panel_height + below) + bottom
        height += 72 * self.page.title_height(said, self._wanted / 72)
        figure = self.page.new(self._wanted / 72, height / 72)
        axs = figure.subplots(self._rows, self._columns, squeeze=False, sharex=True, sharey=True)
        self.page.put_title(figure, said)
        figure.legend(
            [],
            [],
            title=note,
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
        long, short = "token (log scale)", "token (log)"
        narrow = self._panel_width < 1.1 * LETTER * self._text * len(long)
        ax.set_xlabel(short if narrow else long, fontsize=self._text, labelpad=1)
        if _is_first(ax):
            ax.set_ylabel("share alive", fontsize=self._text)

    def label_ends(self, ax: Axes, lines: Sequence[Line2D]) -> None:
        """Name each curve where it ends, the names apart from one another."""
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
        counts = panel["at_risk"].sel(time=self._ticks).transpose("alpha", "time").values
        colours = dose_colours(panel["alpha"].values)
        for (alpha, colour), row, n in zip(colours.items(), counts, panel["n"].values, strict=True):
            y -= self._line
            for tick, count in zip(self._ticks, row, strict=True):
                text = f"{count}" if n else "\N{EN DASH}"
                ax.annotate(text, (tick, 0), (0, y), color=small_print(colour), **below)
            if _is_first(ax):
                ax.annotate(dose(alpha), (0, 0), (left, y), color=small_print(colour), **beside)

    @property
    def _preferred(self) -> int:
        n = self.curves.sizes[self.facets[0]]
        if len(self.facets) == 2:
            return n
        return 2 if n == 4 else min(n, 3)

    @cached_property
    def _columns(self) -> int:
        """As many panels beside each other as fit; of two facets all, as they are a table."""
        if len(self.facets) == 2:
            return self._preferred
        fit = (n for n in range(self._preferred, 1, -1) if self._width_of(n, self._text) > NARROW)
        return next(fit, 1)

    @property
    def _rows(self) -> int:
        panels = int(np.prod([self.curves.sizes[dim] for dim in self.facets]))
        return -(-panels // self._columns)

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
        size = points("legend")
        while size > SMALLEST and self._width_of(columns, size) <= LEAST_WIDTH:
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
        return max(PANEL_HEIGHT, self._line * self.curves.sizes["alpha"])

    @property
    def _wanted(self) -> float:
        return COLUMN if self._preferred == 1 else PAGE * max(1, self._preferred / 4)

    @property
    def _width(self) -> float:
        return 72 * self.page.inches(self._wanted / 72)

    def _width_of(self, columns: int, text: float) -> float:
        """Width of a panel, were there so many columns and words so large."""
        label = LETTER * text * max(len(dose(a)) for a in self.curves["alpha"].values)
        return (self._width - label - 2.6 * text) / columns - label - 18

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
        return max(self._width_of(self._columns, self._text), LEAST_WIDTH / 2)

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
        text = literal(label_name(str(dim), value))
        return textwrap.wrap(text, int(self._panel_width / (LETTER * self._text)))

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
        note = (
            "Kaplan\N{EN DASH}Meier with numbers at risk, over "
            f"{self.curves.attrs['cells']} trajectories. {self._sure()} A whisker is the last one. "
            "Ticks: rollouts that ended before the window. Curves that coincide take turns in "
            "dashes."
        )
        if self.curves.attrs.get("doses"):
            note += f" {self.curves.attrs['doses']}."
        return "\n".join(textwrap.wrap(note, letters_in(self._width / 72 - 0.1, self._small)))


def _count_lines(text: str) -> int:
    return text.count("\n") + 1


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
