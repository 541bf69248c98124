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
from matplotlib.ticker import FixedLocator, NullLocator
from xarray.plot import FacetGrid

from isoklx.plot.fork_axis import fork_ticks
from isoklx.plot.palette import dose_colours, small_print
from isoklx.plot.titles import death, dose, label_name, literal, title, trajectories
from isoklx.stats.assumptions import of_survival

COLUMN, PAGE = 72 * 3.5, 72 * 7.0
"""Width of one panel and of several, as in a paper of two columns."""

PANEL_HEIGHT = 112.0

LETTER, LINE = 0.58, 1.3
"""Mean width of a letter and height of a line, over the size of the font."""

SMALL = 0.85
"""Size of the note below, over the size of all other text."""


@dataclass(frozen=True)
class SurvivalPage:
    """The page. All lengths are in points, so that no text meets another at any size of the font.

    Parameters
    ----------
    curves : Dataset
        What `isoklx.survival` returns, in memory, its ``fork`` or ``token`` renamed ``time``.
    facets : list of str
        The one or two of its dimensions that panels differ in: columns, then rows.
    """

    curves: xr.Dataset
    facets: list[Hashable]

    def empty_grid(self, cells: xr.Dataset) -> FacetGrid[xr.Dataset]:
        """Make empty panels, under a title that describes `cells`."""
        col, row = (*self.facets, None)[:2]
        heading, note = self._heading(cells), self._note()
        top = self._line * _count_lines(heading) + 3
        bottom = self._line * SMALL * _count_lines(note) + 6
        above = self._line * max(1, self._title_lines) + 8
        below = self._under_ticks + self._line * (self.curves.sizes["alpha"] + 1)
        height = top + self._rows * (above + PANEL_HEIGHT + below) + bottom
        grid = FacetGrid(
            self.curves,
            col=col,
            row=row,
            col_wrap=None if row else self._columns,
            figsize=(self._width / 72, height / 72),
        )
        grid.fig.subplots_adjust(
            left=self._left / self._width,
            right=1 - self._right / self._width,
            bottom=(bottom + below) / height,
            top=1 - (top + above) / height,
            wspace=self._right / self._panel_width,
            hspace=(above + below) / PANEL_HEIGHT,
        )
        grid.fig.suptitle(heading, y=1 - 3 / height, fontsize=self._text, linespacing=LINE)
        at = (4 / self._width, 4 / height)
        grid.fig.text(*at, note, fontsize=SMALL * self._text, va="bottom")
        return grid

    def set_axes(self, ax: Axes, name: Mapping[Hashable, Any]) -> None:
        """Scale, limit and label the axes of the panel of that name."""
        end = np.log1p(max(self.curves["time"].values[-1], 1))
        # Forks lie ever further apart, and begin at 0.
        ax.set_xscale("function", functions=(np.log1p, np.expm1))
        ax.set_xlim(np.expm1(-0.03 * end), np.expm1(1.03 * end))
        ax.xaxis.set_major_locator(FixedLocator(self._ticks))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_ylim(-0.04, 1.05)
        ax.set_yticks([0, 0.5, 1])
        ax.tick_params(labelsize=self._text, labelbottom=True)
        ax.spines[["top", "right"]].set_visible(False)
        lines = [line for dim, value in name.items() for line in self._said(dim, value)]
        ax.set_title("\n".join(lines), fontsize=self._text)
        ax.set_xlabel("token (log scale)", fontsize=self._text, labelpad=1)
        if _is_first(ax):
            ax.set_ylabel("share alive", fontsize=self._text)

    def label_ends(self, ax: Axes, lines: Sequence[Line2D]) -> None:
        """Name each curve where it ends, the names apart from one another."""
        points = [np.column_stack(line.get_data()) for line in lines]
        ends = [line[~np.isnan(line[:, 1])][-1] for line in points]
        low, high = ax.get_ylim()
        wanted = [(y - low) / (high - low) * PANEL_HEIGHT for _, y in ends]
        for line, end, height in zip(lines, ends, _apart(wanted, self._line), strict=True):
            colour: Any = line.get_color()
            ax.annotate(
                str(line.get_label()),
                end,
                (self._panel_width + 7, height),
                textcoords="axes points",
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
    def _columns(self) -> int:
        n = self.curves.sizes[self.facets[0]]
        if len(self.facets) == 2:
            return n
        return 2 if n == 4 else min(n, 3)

    @property
    def _rows(self) -> int:
        panels = int(np.prod([self.curves.sizes[dim] for dim in self.facets]))
        return -(-panels // self._columns)

    @property
    def _text(self) -> float:
        return 0.75 * float(mpl.rcParams["font.size"])

    @property
    def _line(self) -> float:
        return LINE * self._text

    @property
    def _width(self) -> float:
        return COLUMN if self._columns == 1 else PAGE * max(1, self._columns / 4)

    @property
    def _label_width(self) -> float:
        return LETTER * self._text * max(len(dose(a)) for a in self.curves["alpha"].values)

    @property
    def _count_width(self) -> float:
        largest = max(int(self.curves["n"].max()), int(self.curves["time"].max()))
        return LETTER * self._text * len(str(largest))

    @property
    def _under_ticks(self) -> float:
        """From the axis to the middle of its label: the ticks, and their labels."""
        return 8 + 1.67 * self._text

    @property
    def _left(self) -> float:
        return self._label_width + 2.6 * self._text

    @property
    def _right(self) -> float:
        return self._label_width + 18

    @property
    def _panel_width(self) -> float:
        return (self._width - self._left) / self._columns - self._right

    @cached_property
    def _ticks(self) -> list[int]:
        """Tokens at which numbers fit beside each other."""
        apart = (self._count_width + 0.7 * self._text) / self._panel_width
        return fork_ticks(self.curves["time"].values, apart)

    @property
    def _title_lines(self) -> int:
        return sum(
            max(len(self._said(dim, value)) for value in np.atleast_1d(self.curves[dim].values))
            for dim in self.facets
        )

    def _said(self, dim: Hashable, value: Any) -> list[str]:
        """Lines of a panel's title; none where there is but one value, which the heading says."""
        if self.curves[dim].size == 1:
            return []
        text = literal(label_name(str(dim), value.item()))
        return textwrap.wrap(text, int(self._panel_width / (LETTER * self._text)))

    def _heading(self, cells: xr.Dataset) -> str:
        thresholds = self.curves["threshold"].values
        threshold = f"{thresholds.item():g}" if thresholds.size == 1 else "threshold"
        groups = [dim for dim in self.curves["n"].dims if dim != "alpha"]
        counts = self.curves[["n", "n_distinct"]].sum(groups)
        # As wide, in letters of the style's own size, as the page is in ours.
        inches = self._width / 72 * float(mpl.rcParams["font.size"]) / self._text
        what = f"Survival: dead once {death(self.curves.attrs['metric'], threshold)}"
        return title(cells, what, size=trajectories(counts), inches=inches)

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
        letters = int(self._width / (LETTER * SMALL * self._text))
        return "\n".join(textwrap.wrap(note, letters))


def _count_lines(text: str) -> int:
    return text.count("\n") + 1


def _is_first(ax: Axes) -> bool:
    place = ax.get_subplotspec()
    return place is not None and place.is_first_col()


def _apart(wanted: Sequence[float], distance: float) -> list[float]:
    """Heights in the order of those wanted, at least `distance` from one another."""
    order = np.argsort(wanted, kind="stable")
    steps = distance * np.arange(order.size)
    spread = np.maximum.accumulate(np.asarray(wanted)[order] - steps) + steps
    top = PANEL_HEIGHT + distance / 2 - steps[::-1]
    placed = np.empty(order.size)
    placed[order] = np.minimum(spread, top)
    return [float(height) for height in placed]
