"""Panels as xarray has them, in a figure that is laid out here."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import xarray as xr
from xarray.plot import FacetGrid

from isoklx.plot.page import AnyFigure


class Grid(FacetGrid[xr.Dataset]):
    """A FacetGrid of given panels, whose ``data`` are the numbers that were drawn.

    xarray's own always makes a new figure, lays it out by itself once ``map`` is used, and would
    write its own titles then.

    Parameters
    ----------
    data : Dataset
        What was drawn; it has a coordinate for each key of the names.
    names : array of dict or None
        Which part of it a panel shows; None for a place without a panel.
    figure : Figure or SubFigure
    axs : array of Axes
        Of the shape of the names.
    """

    def __init__(
        self,
        data: xr.Dataset,
        names: npt.NDArray[Any],
        figure: AnyFigure,
        axs: npt.NDArray[Any],
    ) -> None:
        self.data = data
        self.name_dicts = names
        self.fig = figure  # type: ignore[assignment]
        self.axs = axs
        keys = list(dict.fromkeys(key for name in names.flat for key in name or {}))
        self.row_names = data[keys[0]].values.tolist() if len(keys) > 1 else []
        self.col_names = data[keys[-1]].values.tolist()
        self.figlegend = self.quiverkey = self.cbar = None
        self._single_group = keys[0] if len(keys) == 1 else False
        self._nrow, self._ncol = axs.shape
        self._row_var, self._col_var = (keys[0] if len(keys) > 1 else None), keys[-1]
        self._col_wrap = self._x_var = self._y_var = self._hue_var = self._cmap_extend = None
        self.row_labels, self.col_labels = [None] * self._nrow, [None] * self._ncol
        self._mappables = []
        self._finalized = True
