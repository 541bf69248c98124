"""Colours that mean the same in every figure, to the colour-blind and in greyscale too.

Of two things in one panel, the one that matters more is the darker one.
"""

from __future__ import annotations

from collections.abc import Iterable

import matplotlib as mpl
from matplotlib.colors import Colormap, LinearSegmentedColormap, to_hex

ALIVE = "#74b3dd"
DEAD = "#a3160f"

CROSSED = "#b2182b"
BELOW = "#b3b3b3"
"""Trajectories that crossed the target, and those that stayed below it."""

MEDIAN = "black"
TARGET = "#333333"
"""The KL that was aimed at, and other lines to compare with."""

UNKNOWN = "#c8c8c8"
"""Where there is KL and no pmass."""

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
