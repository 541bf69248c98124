"""The page that a figure is drawn on: how wide, whose figure, and how large its words are."""

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
"""Inches, of papers of two columns."""

NARROWEST, WIDEST = 2.5, 100.0
"""Inches; narrower, no panel is left beside its words."""

PAGE_HEIGHT = 9.0
"""Inches; higher than that no page of a paper is."""

COLLAPSED = 0.55
"""Of the height that panels need; lower, their words leave them none."""

SMALLEST = 6.0
"""Points; smaller letters no publisher takes."""

LETTER, LINE = 0.56, 1.25
"""Mean width of a letter and height of a line, over the size of the font."""

Words = Literal["title", "panel", "label", "tick", "legend", "note"]

SIZES: dict[Words, tuple[Any, str]] = {
    "title": ("figure.titlesize", "small"),
    "panel": ("axes.titlesize", "small"),
    "label": ("axes.labelsize", "small"),
    "tick": ("xtick.labelsize", "x-small"),
    "legend": ("legend.fontsize", "x-small"),
    "note": ("legend.fontsize", "xx-small"),
}
"""The setting of a style for each kind of words, and their size where no style sets one."""


@dataclass(frozen=True)
class Page:
    """What a figure is drawn on.

    Parameters
    ----------
    width : float or {"column", "page"}, optional
        Inches; by default the style's ``figure.figsize``, or what the panels would like.
    title : bool or str
        Whether there is a title made from the data, or one's own.
    subfigure : Figure or SubFigure, optional
        To draw into, instead of a new figure; its width is its own.

    Raises
    ------
    UsageError
        When the width is out of range, or given beside a subfigure.
    """

    width: Width | None = None
    title: bool | str = True
    subfigure: AnyFigure | None = None

    def __post_init__(self) -> None:
        if self.width is None:
            return
        if self.subfigure is not None:
            raise UsageError(f"width={self.width!r}: a subfigure has its own width")
        number = WIDTHS.get(str(self.width), self.width)
        if isinstance(number, str) or not NARROWEST <= number <= WIDEST:
            raise UsageError(
                f"width={self.width!r}: give inches from {NARROWEST:g} to {WIDEST:g}, or "
                f"{' or '.join(WIDTHS)}"
            )

    def inches(self, wanted: float) -> float:
        """Width in inches: as given, else the style's, else what is wanted."""
        if self.subfigure is not None:
            return float(self.subfigure.bbox.width / self.subfigure.dpi)
        if self.width is not None:
            return float(WIDTHS.get(str(self.width), self.width))
        of_style = _figsize_of_style()
        return wanted if of_style is None else of_style[0]

    def new(self, wanted: float, height: float, figure_class: type[Figure] = Figure) -> AnyFigure:
        """A figure that keeps its words apart: a new one, or the one that was given.

        Parameters
        ----------
        wanted, height : float
            Inches that the panels would like, and that they need. A style's ``figure.figsize`` may
            make it higher.
        figure_class : type
            Of a new one.

        Raises
        ------
        UsageError
            When a subfigure is so low that its panels would have no height left.
        """
        if self.subfigure is not None:
            there, least = self.subfigure.bbox.height / self.subfigure.dpi, COLLAPSED * height
            if there < least:
                raise UsageError(
                    f"subfigure: {there:.1f} inches high, and so many panels need {least:.1f} at "
                    f"its width of {self.inches(wanted):.1f}: give a larger one, or draw fewer"
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

    def put_title(self, figure: AnyFigure, said: str) -> None:
        """Put the title above all, in lines that fit; or one's own, or none."""
        if self.title is not False:
            inches = figure.bbox.width / figure.dpi
            figure.suptitle(self._title(said, inches), fontsize=fitting(points("title"), inches))

    def title_height(self, said: str, wanted: float) -> float:
        """Inches that the title takes on a page that would like to be so wide."""
        if self.title is False:
            return 0.0
        inches = self.inches(wanted)
        lines = self._title(said, inches).count("\n") + 1
        return lines * LINE * fitting(points("title"), inches) / 72 + 0.05

    def _title(self, said: str, inches: float) -> str:
        text = literal(self.title, 10_000) if isinstance(self.title, str) else said
        return wrapped(text, letters_in(inches, fitting(points("title"), inches)))


def points(words: Words) -> float:
    """Size of a kind of words: that of the style, where it sets one; never below 6 points.

    Examples
    --------
    >>> with mpl.rc_context({"font.size": 3}):
    ...     points("note")
    6.0
    """
    setting, ours = SIZES[words]
    own = mpl.rcParams[setting]
    size = ours if own == mpl.rcParamsDefault[setting] else own
    return max(SMALLEST, float(FontProperties(size=size).get_size_in_points()))


def fitting(size: float, inches: float) -> float:
    """A size of letters of which at least 32 fit beside each other, but 6 points at least."""
    return max(SMALLEST, min(size, inches * 72 / (LETTER * 32)))


def letters_in(inches: float, size: float) -> int:
    """How many letters of a size fit beside each other."""
    return max(8, math.floor(inches * 72 / (LETTER * size)))


def wide(text: str, size: float) -> float:
    """Inches that a text takes, more or less."""
    return LETTER * size * max(map(len, text.split("\n"))) / 72


def columns_of(labels: Sequence[str], inches: float, size: float) -> int:
    """Columns of a legend, so that it is no wider than the figure; each is as wide as it must be.

    Examples
    --------
    >>> columns_of(["a rather long label", "short", "short too"], 3.3, 8), columns_of("abc", 1, 8)
    (2, 1)
    """
    handle, between, border = (spaces * size / 72 for spaces in (2.8, 2, 0.8))
    widths = np.array([wide(label, size) + handle for label in labels])

    def inches_of(columns: int) -> float:
        parts = np.array_split(widths, columns)
        return float(sum(part.max() for part in parts)) + (columns - 1) * between + border

    fit = (n for n in range(len(labels), 1, -1) if inches_of(n) <= inches)
    return next(fit, 1)


def _figsize_of_style() -> tuple[float, float] | None:
    """The size of figures that a style sets; None where it is matplotlib's own."""
    size = list(mpl.rcParams["figure.figsize"])
    if size == list(mpl.rcParamsDefault["figure.figsize"]):
        return None
    return float(size[0]), float(size[1])


class ShownOnce(Figure):
    """A figure that a notebook shows once, though it is the last expression of its cell.

    The notebook shows the value of the last expression, and the inline backend all that pyplot
    still holds at the end of the cell: the same figure again. Who shows this one takes it from
    pyplot.
    """

    def _ipython_display_(self) -> None:
        if "inline" in mpl.get_backend():
            plt.close(self)
        raise NotImplementedError  # it is shown as any other figure
