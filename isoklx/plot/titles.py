"""Titles made from the data, and names from the data as literal text."""

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
"""Characters that are special in LaTeX, or missing from its text fonts."""

LAST_LETTER = "\N{LATIN SMALL LETTER LONG S}"
"""LaTeX fails on letters beyond Latin."""


def latex(text: str) -> str:
    """Convert the output of `literal` to LaTeX; letters that LaTeX lacks become escapes."""
    return "".join(map(_letter, text.replace(r"\$", "$")))


def typeset(figure: Figure | SubFigure) -> None:
    """Convert all text of a finished figure to LaTeX, if ``text.usetex`` is set.

    Tick labels are remade whenever the figure is drawn, so they are left alone: see `tick_label`.
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
    """Return the text of a tick, as LaTeX if ``text.usetex`` is set."""
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
"""Separator of facts about the data."""

LONGEST_NAME = 36
LONGEST_LIST = 48
LETTER_WIDTH = 0.55
"""Mean width of a letter relative to the font size."""


def title(
    ds: xr.Dataset,
    what: str,
    *,
    size: str = "",
    inches: float = 8.0,
) -> str:
    """Title a figure of the cells in `ds`: `what` is drawn, then the data, in lines that fit.

    `size` is the sample size; default: the trajectories in `ds`, and the distinct ones.
    """
    letters = int(inches * 72 / (LETTER_WIDTH * mpl.rcParams["font.size"]))
    return wrapped(described(ds, what, size=size), letters)


def described(ds: xr.Dataset, what: str, *, size: str = "") -> str:
    """Return the two lines of a title: `what` is drawn, and the data; see `wrapped`."""
    schema.require(ds, ["model_short", "method", "seed", "window", "gen_len"])
    ds = restore_dims(ds)
    prompts = ds["gen_len"].notnull().any("alpha").sum("prompt").values
    facts = [
        _names("model", ds["model_short"].values),
        _names("method", ds["method"].values),
        *(_split_label(name, ds[name].values) for name in schema.SPLIT if name in ds.coords),
        _numbers("seed", ds["seed"].values),
        _numbers("window", ds["window"].values),
        span("prompt", prompts),
        size or trajectories(count_trajectories(ds)),
    ]
    return f"{what}\n{BETWEEN.join(filter(None, facts))}"


def wrapped(text: str, letters: int) -> str:
    """Break lines longer than `letters`, between facts if possible."""
    lines: list[str] = []
    for line in text.split("\n"):
        for fact in _packed(line.split(BETWEEN), letters) if BETWEEN in line else [line]:
            lines += textwrap.wrap(fact, letters) or [""]
    return "\n".join(lines)


def trajectories(counts: xr.Dataset) -> str:
    """Describe the numbers of trajectories and of distinct ones, as ranges over the panels."""
    n, n_distinct = (from_to(counts[name].values) for name in ("n", "n_distinct"))
    return f"n = {n} ({n_distinct} distinct)"


def from_to(counts: npt.NDArray[np.integer[Any]], to: str = TO) -> str:
    """Return the range of some counts as text, or their common value."""
    if not counts.size:
        return "0"
    least, most = counts.min(), counts.max()
    return f"{most}" if least == most else f"{least}{to}{most}"


def dose(alpha: float) -> str:
    """Title the panel of one dose."""
    return f"{ALPHA} = {alpha:g}"


def death(metric: str, threshold: str) -> str:
    """Describe the criterion of death."""
    return (
        f"KL \N{GREATER-THAN OR EQUAL TO} {threshold}"
        if metric == "kl"
        else f"{metric} < {threshold}"
    )


def label_name(name: str, label: object) -> str:
    """Name a group by its label: a text by itself, a number with the name of the label."""
    if isinstance(label, str):
        return f"side {label}" if name == "sign" else label
    if not isinstance(label, float):
        return f"{name} {label}"
    return f"{name} not recorded" if np.isnan(label) else f"{name} {label:g}"


def group_name(labels: Mapping[str, object]) -> str:
    """Name a group by its labels, with those of `isoklx.schema.SPLIT` in brackets."""
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
    """Return a name from the data as one short line that matplotlib shows literally.

    Control characters and letters that the font lacks become escapes.
    """
    # An escaped dollar sign starts no formula, and no other character is special.
    return _shortened(_drawable(printable(text)), longest).replace("$", r"\$")


def _names(kind: str, values: Iterable[object]) -> str:
    names = [literal(name) for name in dict.fromkeys(values)]
    listed = ", ".join(names)
    return listed if len(names) < 2 or len(listed) <= LONGEST_LIST else f"{len(names)} {kind}s"


def _split_label(name: str, values: npt.NDArray[Any]) -> str:
    """Describe a label of `isoklx.schema.SPLIT`, if it has several values or an unusual one."""
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
    """Describe the range of the counts above 0 of some things."""
    counts = np.unique(np.asarray(counts))
    counts = counts[counts > 0]  # cells that are only calibrated have a count of 0
    if not counts.size:
        return ""
    some = from_to(counts)
    return f"{some} {kind}{'s' if some != '1' else ''}"


def _packed(facts: Iterable[str], letters: int) -> list[str]:
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
    """Return the files of the fonts in which matplotlib looks up a letter, in order."""
    return [findfont(FontProperties(family=[family])) for family in families]


def _shortened(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[: half - 1]}…{text[-half:]}"
