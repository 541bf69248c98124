"""Lines to compare trajectories with: the KL that was aimed at, and a token of interest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from isoklx.errors import UsageError
from isoklx.plot.palette import ink

STYLE: dict[str, Any] = {"linewidth": 0.8, "zorder": 3}
DASHED: dict[str, Any] = {**STYLE, "linestyle": (0, (4, 2))}
DOTTED: dict[str, Any] = {**STYLE, "linestyle": ":"}


def draw_target(axes: Iterable[Axes], ds: xr.Dataset) -> Line2D:
    """Draw ``target_kl`` of the cells across a row of panels; returns a handle for the legend."""
    for ax in axes:
        for target in np.unique(ds["target_kl"].values):
            ax.axhline(target, color=ink(), **DASHED)
    return Line2D([], [], color=ink(), **DASHED, label="target KL")


def draw_mark(axes: Iterable[Axes], ds: xr.Dataset, token: int) -> Line2D:
    """Draw a dotted line at a token; returns a handle for the legend.

    Raises
    ------
    UsageError
        When the token is outside the window.
    """
    check_mark(ds, token)
    for ax in axes:
        ax.axvline(token, color=ink(), **DOTTED)
    return Line2D([], [], color=ink(), **DOTTED, label=f"token {token}")


def check_mark(ds: xr.Dataset, token: int) -> None:
    """Raise UsageError unless a token is within the window of what is drawn."""
    last = int(ds["window"].max())
    if not 0 <= token <= last:
        raise UsageError(f"mark_t={token}: give a token from 0 to {last}")
