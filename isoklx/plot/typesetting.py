"""The words of a figure for LaTeX, where a style asks it to set them (``text.usetex``)."""

from __future__ import annotations

import matplotlib as mpl
from matplotlib.figure import Figure, SubFigure
from matplotlib.text import Text

SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    "\N{GREEK SMALL LETTER ALPHA}": r"$\alpha$",
    "\N{GREATER-THAN OR EQUAL TO}": r"$\geq$",
    "\N{LESS-THAN OR EQUAL TO}": r"$\leq$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{MIDDLE DOT}": r"$\cdot$",
    "\N{UPWARDS ARROW}": r"$\uparrow$",
    "\N{DOWNWARDS ARROW}": r"$\downarrow$",
    "\N{EN DASH}": "--",
    "\N{HORIZONTAL ELLIPSIS}": r"\ldots{}",
}
"""What means something else to LaTeX, or is in none of its text fonts."""

LAST_LETTER = "\N{LATIN SMALL LETTER LONG S}"
"""Beyond Latin letters LaTeX has no words by itself, and fails."""


def latex(text: str) -> str:
    r"""Write as LaTeX what matplotlib would show as it is.

    Parameters
    ----------
    text : str
        As `isoklx.plot.titles.literal` gives it: a dollar sign behind a backslash, no formula.

    Returns
    -------
    str
        Letters that LaTeX has not by itself become escapes.

    Examples
    --------
    >>> print(latex(r"a_\$x^2\$ 50%"))
    a\_\$x\textasciicircum{}2\$ 50\%
    """
    return "".join(map(_letter, text.replace(r"\$", "$")))


def typeset(figure: Figure | SubFigure) -> None:
    """Have all words of a finished figure reach LaTeX as they are, if it is LaTeX that sets them.

    Parameters
    ----------
    figure : Figure
        Its texts are replaced, but for the labels of ticks, which are made anew whenever it is
        drawn: `tick_label` is for those that are words.
    """
    if not mpl.rcParams["text.usetex"]:
        return
    on_axis: set[Text] = set()
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            on_axis |= {*axis.get_ticklabels(), *axis.get_ticklabels(minor=True)}
    for text in figure.findobj(Text):
        if isinstance(text, Text) and text not in on_axis:
            text.set_text(latex(text.get_text()))


def tick_label(text: str) -> str:
    """Words for a tick, as LaTeX if it is LaTeX that sets them."""
    return latex(text) if mpl.rcParams["text.usetex"] else text


def _letter(letter: str) -> str:
    if letter in SPECIAL:
        return SPECIAL[letter]
    if letter <= LAST_LETTER:
        return letter
    return "".join(map(_letter, letter.encode("unicode_escape").decode("ascii")))
