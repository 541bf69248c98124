"""The page of a figure: its width, its title and the sizes of its text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure, SubFigure
from matplotlib.font_manager import FontProperties

from isoklx.errors import UsageError
from isoklx.plot.titles import literal, wrapped

Width = float | Literal["column", "page"]
AnyFigure = Figure | SubFigure

WIDTHS: dict[str, float] = {"column": 3.3, "page": 7.0}
"""Inches, as in papers of two columns."""

NARROWEST, WIDEST = 2.5, 100.0
"""Inches; in a narrower figure, labels leave no room for a panel."""

PAGE_HEIGHT = 9.0
"""Inches; height of the pages of papers."""

COLLAPSED = 0.55
"""Fraction of the height that panels need; in a lower subfigure, labels leave no room for them."""

SMALLEST = 6.0
"""Points; the minimum that publishers accept."""

LETTER, LINE = 0.56, 1.25
"""Mean width of a letter and height of a line, relative to the font size."""

Words = Literal["title", "panel", "label", "tick", "legend", "note"]

SIZES: dict[Words, tuple[Any, str]] = {
    "title": ("figure.titlesize", "small"),
    "panel": ("axes.titlesize", "small"),
    "label": ("axes.labelsize", "small"),
    "tick": ("xtick.labelsize", "x-small"),
    "legend": ("legend.fontsize", "x-small"),
    "note": ("legend.fontsize", "xx-small"),
}
"""The style setting for each kind of text, and its size unless the style sets one."""


@dataclass(frozen=True)
class Page:
    """Width, title and target of a figure."""

    width: Width | None = None  # inches; default: figure.figsize of the style, or as preferred
    title: bool | str = True  # True: made from the data; a text replaces it
    subfigure: AnyFigure | None = None  # drawn into; it has its own width

    def __post_init__(self) -> None:
        if self.width is None:
            return
        if self.subfigure is not None:
            raise UsageError(f"width must not be given for a subfigure, got {self.width!r}")
        number = WIDTHS.get(str(self.width), self.width)
        if isinstance(number, str) or not NARROWEST <= number <= WIDEST:
            raise UsageError(
                f"width must be {NARROWEST:g} to {WIDEST:g} inches, "
                f"{' or '.join(map(repr, WIDTHS))}, got {self.width!r}"
            )

    def inches(self, wanted: float) -> float:
        """Return the width in inches: as given, else the style's, else `wanted`."""
        if self.subfigure is not None:
            return float(self.subfigure.bbox.width / self.subfigure.dpi)
        if self.width is not None:
            return float(WIDTHS.get(str(self.width), self.width))
        of_style = _figsize_of_style()
        return wanted if of_style is None else of_style[0]

    def new(self, wanted: float, height: float, figure_class: type[Figure] = Figure) -> AnyFigure:
        """Return the subfigure, or make a new figure with constrained layout.

        `wanted` and `height` are the preferred width and the necessary height, in inches; the
        style's ``figure.figsize`` may increase the height. Raises UsageError if a subfigure is too
        low.
        """
        if self.subfigure is not None:
            there, least = self.subfigure.bbox.height / self.subfigure.dpi, COLLAPSED * height
            if there < least:
                raise UsageError(
                    f"subfigure must be at least {least:.1f} inches high at its width of "
                    f"{self.inches(wanted):.1f}, got {there:.1f}: enlarge it, or draw fewer panels"
                )
            whole = self.subfigure.figure
            if whole is not None and whole.get_layout_engine() is None:
                whole.set_layout_engine("constrained")
            return self.subfigure
        of_style = _figsize_of_style()
        if self.width is None and of_style is not None:
            height = max(height, of_style[1])
        size = (self.inches(wanted), height)
        return plt.figure(figsize=size, layout="constrained", FigureClass=figure_class)

    def put_title(self, figure: AnyFigure, default: str) -> None:
        """Put the given or the custom title above all panels, in lines that fit."""
        if self.title is not False:
            inches = figure.bbox.width / figure.dpi
            figure.suptitle(self._title(default, inches), fontsize=fitting(points("title"), inches))

    def title_height(self, default: str, wanted: float) -> float:
        """Return the height of the title in inches, on a page of the preferred width."""
        if self.title is False:
            return 0.0
        inches = self.inches(wanted)
        lines = self._title(default, inches).count("\n") + 1
        return lines * LINE * fitting(points("title"), inches) / 72 + 0.05

    def _title(self, default: str, inches: float) -> str:
        text = literal(self.title, 10_000) if isinstance(self.title, str) else default
        return wrapped(text, letters_in(inches, fitting(points("title"), inches)))


def points(words: Words) -> float:
    """Return the size of a kind of text: the style's if set, and at least 6 points."""
    setting, ours = SIZES[words]
    own = mpl.rcParams[setting]
    size = ours if own == mpl.rcParamsDefault[setting] else own
    return max(SMALLEST, float(FontProperties(size=size).get_size_in_points()))


def fitting(size: float, inches: float) -> float:
    """Limit a font size so that 32 letters fit into a width, but not below 6 points."""
    return max(SMALLEST, min(size, inches * 72 / (LETTER * 32)))


def letters_in(inches: float, size: float) -> int:
    """Return how many letters of a font size fit into a width."""
    return max(8, math.floor(inches * 72 / (LETTER * size)))


def wide(text: str, size: float) -> float:
    """Estimate the width of a text in inches."""
    return LETTER * size * max(map(len, text.split("\n"))) / 72


def columns_of(labels: Sequence[str], inches: float, size: float) -> int:
    """Return the largest number of legend columns that fits the width of the figure."""
    handle, between, border = (spaces * size / 72 for spaces in (2.8, 2, 0.8))
    widths = np.array([wide(label, size) + handle for label in labels])

    def inches_of(columns: int) -> float:
        parts = np.array_split(widths, columns)
        return float(sum(part.max() for part in parts)) + (columns - 1) * between + border

    fit = (n for n in range(len(labels), 1, -1) if inches_of(n) <= inches)
    return next(fit, 1)


def _figsize_of_style() -> tuple[float, float] | None:
    """Return the figure size that the style sets, or None for matplotlib's default."""
    size = list(mpl.rcParams["figure.figsize"])
    if size == list(mpl.rcParamsDefault["figure.figsize"]):
        return None
    return float(size[0]), float(size[1])


class ShownOnce(Figure):
    """Figure that a notebook shows once, even as the last expression of a cell.

    A notebook displays the value of the last expression, and the inline backend displays every
    figure that pyplot still holds at the end of the cell. This figure closes itself in pyplot when
    displayed.
    """

    def _ipython_display_(self) -> None:
        if "inline" in mpl.get_backend():
            plt.close(self)
        raise NotImplementedError  # fall back to the usual display
