"""Titles made from the data, and other people's names shown as they are."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib.figure import Figure, SubFigure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.text import Text

from isoklx import schema
from isoklx.stats.deduplication import count_trajectories
from isoklx.stats.selection import restore_dims
from isoklx.system.terminal import printable

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


ALPHA = "\N{GREEK SMALL LETTER ALPHA}"
TO = "\N{EN DASH}"
BETWEEN = " · "
"""Between facts of the data."""

LONGEST_NAME = 36
LONGEST_LIST = 48
LETTER_WIDTH = 0.55
"""Mean width of a letter over the size of the font."""


def title(
    ds: xr.Dataset,
    what: str,
    *,
    size: str = "",
    inches: float = 8.0,
) -> str:
    """Say what a figure shows, and of which data.

    Parameters
    ----------
    ds : Dataset
        The cells that are drawn, and no others.
    what : str
        What is drawn of them; the first line.
    size : str
        Of how many things; by default of the trajectories in `ds`, and those of distinct cells.
    inches : float
        Width of the figure, to break the lines at.

    Returns
    -------
    str
        Lines for ``Figure.suptitle`` in the size of the style's ``font.size``.

    Examples
    --------
    >>> import isoklx
    >>> ds = isoklx.open_sweep("data/sample").sel(run_id=["simulated-1B_pca_s0_w64"])
    >>> print(title(ds, "KL per token"))
    KL per token
    simulated-1B · pca · seed 0 · window 64 · 8 prompts · n = 8 (8 distinct)
    """
    letters = int(inches * 72 / (LETTER_WIDTH * mpl.rcParams["font.size"]))
    return wrapped(described(ds, what, size=size), letters)


def described(ds: xr.Dataset, what: str, *, size: str = "") -> str:
    """What `title` says, in a line for what is shown and one for the data.

    Parameters
    ----------
    ds, what, size
        As for `title`.

    Returns
    -------
    str
        Two lines, to be broken by `wrapped`.
    """
    schema.require(ds, ["model_short", "method", "seed", "window", "gen_len"])
    ds = restore_dims(ds)
    prompts = ds["gen_len"].notnull().any("alpha").sum("prompt").values
    facts = [
        _names("model", ds["model_short"].values),
        _names("method", ds["method"].values),
        *(_apart(name, ds[name].values) for name in schema.SPLIT if name in ds.coords),
        _numbers("seed", ds["seed"].values),
        _numbers("window", ds["window"].values),
        span("prompt", prompts),
        size or trajectories(count_trajectories(ds)),
    ]
    return f"{what}\n{BETWEEN.join(filter(None, facts))}"


def wrapped(text: str, letters: int) -> str:
    """Break lines that are longer than so many letters, those of facts between these.

    Examples
    --------
    >>> print(wrapped(f"KL{chr(10)}pca{BETWEEN}seed 0{BETWEEN}window 64", 14))
    KL
    pca · seed 0
    window 64
    """
    lines: list[str] = []
    for line in text.split("\n"):
        for fact in _lines(line.split(BETWEEN), letters) if BETWEEN in line else [line]:
            lines += textwrap.wrap(fact, letters) or [""]
    return "\n".join(lines)


def trajectories(counts: xr.Dataset) -> str:
    """How many there are, and how many that repeat no other: from panel to panel.

    Examples
    --------
    >>> print(trajectories(xr.Dataset({"n": ("alpha", [24]), "n_distinct": ("alpha", [8])})))
    n = 24 (8 distinct)
    """
    n, n_distinct = (from_to(counts[name].values) for name in ("n", "n_distinct"))
    return f"n = {n} ({n_distinct} distinct)"


def from_to(counts: npt.NDArray[np.integer[Any]], to: str = TO) -> str:
    """The least and the most of some counts, or the one that all of them are.

    Examples
    --------
    >>> from_to(np.array([8, 16]), " to "), from_to(np.array([8, 8])), from_to(np.array([], int))
    ('8 to 16', '8', '0')
    """
    if not counts.size:
        return "0"
    least, most = counts.min(), counts.max()
    return f"{most}" if least == most else f"{least}{to}{most}"


def dose(alpha: float) -> str:
    """Title of the panel of one dose.

    Examples
    --------
    >>> dose(0.5) == f"{ALPHA} = 0.5"
    True
    """
    return f"{ALPHA} = {alpha:g}"


def death(metric: str, threshold: str) -> str:
    """Words for what it means to be dead.

    Examples
    --------
    >>> death("pmass_eval", "0.75")
    'pmass_eval < 0.75'
    """
    return (
        f"KL \N{GREATER-THAN OR EQUAL TO} {threshold}"
        if metric == "kl"
        else f"{metric} < {threshold}"
    )


def label_name(name: str, label: object) -> str:
    """Call a group of cells by its label: text by itself, a number with what it is.

    Examples
    --------
    >>> label_name("method", "pca"), label_name("seed", 3), label_name("strength", 0.5)
    ('pca', 'seed 3', 'strength 0.5')
    >>> label_name("sign", "-"), label_name("temperature", float("nan"))
    ('side -', 'temperature not recorded')
    """
    if isinstance(label, str):
        return f"side {label}" if name == "sign" else label
    if not isinstance(label, float):
        return f"{name} {label}"
    return f"{name} not recorded" if np.isnan(label) else f"{name} {label:g}"


def group_name(labels: Mapping[str, object]) -> str:
    """Name a group of cells by its labels, those of `isoklx.schema.SPLIT` in brackets.

    Examples
    --------
    >>> group_name({"method": "pca", "sign": "-", "seed": 0}), group_name({"sign": "-"})
    ('pca, seed 0 (-)', 'side -')
    """
    main = [label_name(*label) for label in labels.items() if label[0] not in schema.SPLIT]
    apart = {name: label for name, label in labels.items() if name in schema.SPLIT}
    if not main:
        return ", ".join(label_name(*label) for label in apart.items())
    texts = [
        label if isinstance(label, str) else label_name(name, label)
        for name, label in apart.items()
    ]
    return ", ".join(main) + (f" ({', '.join(texts)})" if texts else "")


def literal(text: object, longest: int = LONGEST_NAME) -> str:
    r"""Text that matplotlib shows as it is, on one line and not too long.

    Control characters, and letters that the font has not, are written as escapes. No part of it is
    taken for a formula.

    Parameters
    ----------
    text : object
        Somebody else's name for something.
    longest : int
        Letters; of a longer text the middle is left out.

    Returns
    -------
    str

    Examples
    --------
    >>> print(literal("a_$x^2$\n"))
    a_\$x^2\$\n
    """
    # Without an unescaped dollar sign there is no formula, and nothing else is special.
    return _shortened(_drawable(printable(text)), longest).replace("$", r"\$")


def _names(kind: str, values: Iterable[object]) -> str:
    names = [literal(name) for name in dict.fromkeys(values)]
    listed = ", ".join(names)
    return listed if len(names) < 2 or len(listed) <= LONGEST_LIST else f"{len(names)} {kind}s"


def _apart(name: str, values: npt.NDArray[Any]) -> str:
    """Values of a label of `isoklx.schema.SPLIT`, where that is worth a word."""
    labels = np.unique(values).tolist()
    if labels == [schema.COORDINATES[name].absent] or (name == "temperature" and len(labels) == 1):
        return ""
    return ", ".join(label_name(name, label) for label in labels)


def _numbers(kind: str, values: Iterable[int]) -> str:
    numbers = np.unique(np.asarray(values))
    plural = kind if numbers.size == 1 else f"{kind}s"
    if numbers.size > 2 and (np.diff(numbers) == 1).all():
        return f"{plural} {numbers[0]}{TO}{numbers[-1]}"
    listed = ", ".join(map(str, numbers))
    return f"{plural} {listed}" if numbers.size <= 4 else f"{numbers.size} {plural}"


def span(kind: str, counts: Iterable[int]) -> str:
    """Say how many there are of a kind, from the least count above 0 to the largest.

    Examples
    --------
    >>> span("prompt", [8, 0, 8]), span("question", [1])
    ('8 prompts', '1 question')
    """
    counts = np.unique(np.asarray(counts))
    counts = counts[counts > 0]  # cells that were calibrated and not swept had none
    if not counts.size:
        return ""
    some = from_to(counts)
    return f"{some} {kind}{'s' if some != '1' else ''}"


def _lines(facts: Iterable[str], letters: int) -> list[str]:
    lines: list[str] = []
    for fact in facts:
        longer = f"{lines[-1]}{BETWEEN}{fact}" if lines else fact
        if lines and len(longer) <= letters:
            lines[-1] = longer
        else:
            lines.append(fact)
    return lines


def _drawable(text: str) -> str:
    fonts = [get_font(path) for path in _font_files(tuple(mpl.rcParams["font.family"]))]
    return "".join(
        char
        if any(font.get_char_index(ord(char)) for font in fonts)
        else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


@lru_cache
def _font_files(families: tuple[str, ...]) -> list[str]:
    """The fonts that matplotlib looks a letter up in, one after the other."""
    return [findfont(FontProperties(family=[family])) for family in families]


def _shortened(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[: half - 1]}…{text[-half:]}"
