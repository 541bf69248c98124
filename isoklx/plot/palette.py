"""Colours that mean the same in every figure, to the colour-blind and in greyscale too.

Of two things in one panel, the one that matters more is the darker one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import cycle
from typing import Any

import matplotlib as mpl
from matplotlib.colors import Colormap, LinearSegmentedColormap, to_hex, to_rgb

ALIVE = "#74b3dd"
DEAD = "#a3160f"

CROSSED = "#b2182b"
BELOW = "#b3b3b3"
"""Trajectories that crossed the target, and those that stayed below it."""

UNKNOWN = "#c8c8c8"
"""Where there is KL and no pmass."""

METHODS = {
    "directional_ablation": ("#0c4e77", "o"),
    "mean_diff": ("#d85917", "s"),
    "pca": ("#2fcbad", "D"),
}
"""Colour and marker of the methods that are known by name: ever lighter in grey."""

OTHER_COLOURS = ("#9d85ef", "#742e24", "#e8a736", "#55846e", "#8d39d6")
OTHER_MARKERS = ("^", "v", "<", ">")
"""Of other methods; one marker fewer than colours, so that 20 of them differ."""

DASHES: tuple[Any, ...] = (
    *("-", (2, (4, 1.5)), (0, (1, 1)), (0, (6, 1, 1, 1))),
    (0, (6, 1, 1, 1, 1, 1)),
)
"""Of models, or whatever else is told apart in one colour."""

Labels = tuple[tuple[str, Any], ...]

_PMASS = ("#5c0614", "#c2352b", "#e99a63", "#8fc1e3")


def dose_colours(alphas: Iterable[float]) -> dict[float, str]:
    """Colour doses, the same in every figure and file, whatever other doses there are.

    Parameters
    ----------
    alphas : iterable of float
        Doses. From 0 on the colours become lighter; negative doses have other hues.

    Returns
    -------
    dict of float to str
        Hexadecimal colours.

    Examples
    --------
    >>> dose_colours([0.5, 1.0])[1.0] == dose_colours([1.0, 4.0])[1.0]
    True
    """
    return {float(alpha): _dose_colour(float(alpha)) for alpha in alphas}


def method_styles(methods: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Give each method a colour and a marker, as colour-blind readers and printers need both.

    Parameters
    ----------
    methods : iterable of str
        Those of one figure. The known ones look the same in every figure; the others take, in
        the order of their names, what is left.

    Returns
    -------
    dict of str to (str, str)
        Hexadecimal colour, and marker.

    Examples
    --------
    >>> method_styles(["pca"])["pca"] == method_styles(["lora", "pca"])["pca"]
    True
    """
    others = sorted(set(methods) - METHODS.keys())
    left = zip(others, cycle(OTHER_COLOURS), cycle(OTHER_MARKERS), strict=False)
    styles = METHODS | {name: (colour, marker) for name, colour, marker in left}
    return {name: styles[name] for name in methods}


def group_styles(groups: Sequence[Labels]) -> list[dict[str, Any]]:
    """Give each group of cells a colour, a marker and dashes.

    Parameters
    ----------
    groups : sequence of tuple of (str, object)
        The labels of each group by name, of the same names in each. A method has the colour that it
        has everywhere; what else groups differ in, dashes. Without methods the first label is
        coloured. By a single label, dashes tell those apart that share a colour, as there are more
        of them than colours.

    Returns
    -------
    list of dict
        Options of a line: ``color``, ``marker``, ``linestyle``.

    Examples
    --------
    >>> groups = [(("method", "pca"), ("seed", 0)), (("method", "pca"), ("seed", 1))]
    >>> [(style["color"], style["linestyle"]) for style in group_styles(groups)]
    [('#2fcbad', '-'), ('#2fcbad', (2, (4, 1.5)))]
    >>> group_styles([()])[0]["color"]
    'black'
    """
    names = [name for name, _ in groups[0]] if groups else []
    if not names:
        return [{"color": ink(), "marker": "o", "linestyle": "-"} for _ in groups]
    key = names.index("method") if "method" in names else 0
    main = [labels[key][1] for labels in groups]
    styles = method_styles(list(map(str, main))) if names[key] == "method" else _in_order(main)
    colours = [styles[each][0] for each in main]
    if len(names) == 1:
        turns: list[Any] = [colours[:i].count(colour) for i, colour in enumerate(colours)]
    else:
        turns = [labels[:key] + labels[key + 1 :] for labels in groups]
    dashes = dict(zip(dict.fromkeys(turns), cycle(DASHES), strict=False))
    return [
        {"color": colour, "marker": styles[each][1], "linestyle": dashes[turn]}
        for colour, each, turn in zip(colours, main, turns, strict=True)
    ]


def ink() -> str:
    """Colour of medians, lines to compare with, and words: that of the style's text."""
    return str(mpl.rcParams["text.color"])


def paper() -> str:
    """Colour of what is behind the data."""
    return str(mpl.rcParams["axes.facecolor"])


def small_print(colour: str) -> tuple[float, ...]:
    """A colour, nearer to that of text, for small letters."""
    mixed = zip(to_rgb(colour), to_rgb(ink()), strict=True)
    return tuple(0.75 * part + 0.25 * text for part, text in mixed)


def on_light_and_dark(colour: str) -> tuple[str, str]:
    """A colour on white, and one like it on nearly black; both hexadecimal.

    Examples
    --------
    >>> on_light_and_dark("#0072b2")
    ('#0072b2', '#4095c5')
    """
    red, green, blue = to_rgb(colour)
    light = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    share = 0.6 if light < 0.25 else 0.25 if light < 0.5 else 0
    paler = (red + share * (1 - red), green + share * (1 - green), blue + share * (1 - blue))
    return to_hex((red, green, blue)), to_hex(paler)


def pmass_colours() -> Colormap:
    """Colour map of pmass: collapsed is dark, alive is light, NaN is grey.

    Examples
    --------
    >>> pmass_colours().name
    'pmass'
    """
    return LinearSegmentedColormap.from_list("pmass", _PMASS).with_extremes(bad=UNKNOWN)


def _dose_colour(alpha: float) -> str:
    # Even steps for doses that double, 0 and infinity at the ends, and no yellow upon white.
    position = 0.9 * abs(alpha) / (1 + abs(alpha))
    return to_hex(mpl.colormaps["viridis" if alpha >= 0 else "plasma"](position))


def _in_order(labels: Iterable[Any]) -> dict[Any, tuple[str, str]]:
    """Colours and markers of labels that are no methods, in their order."""
    colours = (*(colour for colour, _ in METHODS.values()), *OTHER_COLOURS)
    markers = (*(marker for _, marker in METHODS.values()), *OTHER_MARKERS)
    styles = zip(cycle(colours), cycle(markers), strict=False)
    return dict(zip(dict.fromkeys(labels), styles, strict=False))
