"""Lines to compare trajectories with: the KL that was aimed at, and a token of interest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from isoklx.errors import UsageError
from isoklx.plot.palette import ink

STYLE: dict[str, Any] = {"linewidth": 0.8, "zorder": 3}
DASHED: dict[str, Any] = {**STYLE, "linestyle": (0, (4, 2))}
DOTTED: dict[str, Any] = {**STYLE, "linestyle": ":"}


def draw_target(axes: Iterable[Axes], targets: Iterable[float]) -> Line2D:
    """Draw ``target_kl`` across panels, NaN left out; returns a handle for the legend."""
    for ax in axes:
        for target in np.unique(list(targets)):
            if np.isfinite(target):
                ax.axhline(target, color=ink(), **DASHED)
    return Line2D([], [], color=ink(), **DASHED, label="target KL")


def draw_mark(axes: Iterable[Axes], window: int, token: int) -> Line2D:
    """Draw a dotted line at a token; returns a handle for the legend.

    Raises
    ------
    UsageError
        When the token is outside the window.
    """
    check_mark(window, token)
    for ax in axes:
        ax.axvline(token, color=ink(), **DOTTED)
    return Line2D([], [], color=ink(), **DOTTED, label=f"token {token}")


def check_mark(window: int, token: int) -> None:
    """Raise UsageError unless a token is within the window."""
    if not 0 <= token <= window:
        raise UsageError(f"mark_t={token}: give a token from 0 to {window}")
