"""Colours with the same meaning in every figure, distinct to the colour-blind and in greyscale.

Of two things in one panel, the more important one is darker.
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
"""Trajectories that crossed the target, and trajectories that stayed below it."""

UNKNOWN = "#c8c8c8"
"""KL without pmass."""

METHODS = {
    "directional_ablation": ("#0c4e77", "o"),
    "mean_diff": ("#d85917", "s"),
    "pca": ("#2fcbad", "D"),
}
"""Colours, increasingly light in grey, and markers of the known methods."""

OTHER_COLOURS = ("#9d85ef", "#742e24", "#e8a736", "#55846e", "#8d39d6")
OTHER_MARKERS = ("^", "v", "<", ">")
"""Looks of other methods; one marker fewer than colours gives 20 combinations."""

DASHES: tuple[Any, ...] = (
    *("-", (2, (4, 1.5)), (0, (1, 1)), (0, (6, 1, 1, 1))),
    (0, (6, 1, 1, 1, 1, 1)),
)
"""Dashes of models, or of other groups that share a colour."""

Labels = tuple[tuple[str, Any], ...]

_PMASS = ("#5c0614", "#c2352b", "#e99a63", "#8fc1e3")


def dose_colours(alphas: Iterable[float]) -> dict[float, str]:
    """Map doses to hexadecimal colours that do not depend on the other doses.

    Colours become lighter from 0 on; negative doses have other hues.
    """
    return {float(alpha): _dose_colour(float(alpha)) for alpha in alphas}


def method_styles(methods: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Map methods to a colour and a marker, since colour alone is lost to some readers.

    Known methods look the same in every figure; others take the remaining styles in alphabetical
    order.
    """
    others = sorted(set(methods) - METHODS.keys())
    left = zip(others, cycle(OTHER_COLOURS), cycle(OTHER_MARKERS), strict=False)
    styles = METHODS | {name: (colour, marker) for name, colour, marker in left}
    return {name: styles[name] for name in methods}


def group_styles(groups: Sequence[Labels]) -> list[dict[str, Any]]:
    """Return the line options ``color``, ``marker`` and ``linestyle`` of each group of cells.

    Groups have the same label names. The method sets the colour (the first label, if there is none)
    and the other labels set the dashes. With a single label, dashes separate groups that share a
    colour, since there are more groups than colours.
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
    """Return the text colour of the style, used for medians, reference lines and text."""
    return str(mpl.rcParams["text.color"])


def paper() -> str:
    """Return the background colour of the panels."""
    return str(mpl.rcParams["axes.facecolor"])


def small_print(colour: str) -> tuple[float, ...]:
    """Mix a colour with the text colour, for small letters."""
    mixed = zip(to_rgb(colour), to_rgb(ink()), strict=True)
    return tuple(0.75 * part + 0.25 * text for part, text in mixed)


def on_light_and_dark(colour: str) -> tuple[str, str]:
    """Return a hexadecimal colour for a white, and a similar one for a dark background."""
    red, green, blue = to_rgb(colour)
    light = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    share = 0.6 if light < 0.25 else 0.25 if light < 0.5 else 0
    paler = (red + share * (1 - red), green + share * (1 - green), blue + share * (1 - blue))
    return to_hex((red, green, blue)), to_hex(paler)


def pmass_colours() -> Colormap:
    """Return the colour map of pmass: collapsed is dark, alive is light, NaN is grey."""
    return LinearSegmentedColormap.from_list("pmass", _PMASS).with_extremes(bad=UNKNOWN)


def _dose_colour(alpha: float) -> str:
    # Even steps for doubling doses, 0 and infinity at the ends; 0.9 avoids yellow on white.
    position = 0.9 * abs(alpha) / (1 + abs(alpha))
    return to_hex(mpl.colormaps["viridis" if alpha >= 0 else "plasma"](position))


def _in_order(labels: Iterable[Any]) -> dict[Any, tuple[str, str]]:
    """Assign colours and markers in order of first occurrence, to labels other than methods."""
    colours = (*(colour for colour, _ in METHODS.values()), *OTHER_COLOURS)
    markers = (*(marker for _, marker in METHODS.values()), *OTHER_MARKERS)
    styles = zip(cycle(colours), cycle(markers), strict=False)
    return dict(zip(dict.fromkeys(labels), styles, strict=False))
