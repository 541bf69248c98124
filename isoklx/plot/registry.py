"""Drawing a figure again from its own numbers."""

from __future__ import annotations

from collections.abc import Callable

import xarray as xr

from isoklx.errors import DatasetError
from isoklx.plot.alive import draw_numbers as draw_alive
from isoklx.plot.calibration import draw_numbers as draw_calibration
from isoklx.plot.dose_response import draw_numbers as draw_doses
from isoklx.plot.figure1_panels import draw_numbers as draw_figure1
from isoklx.plot.layout import Grid
from isoklx.plot.page import AnyFigure, Page, Width
from isoklx.plot.survival import draw_numbers as draw_survival

KINDS: dict[str, Callable[[xr.Dataset, Page], Grid | AnyFigure]] = {
    "figure1": draw_figure1,
    "alive": draw_alive,
    "survival": draw_survival,
    "dose_response": draw_doses,
    "calibration": draw_calibration,
}


def redraw(
    data: xr.Dataset,
    *,
    width: Width | None = None,
    title: bool | str = True,
    subfigure: AnyFigure | None = None,
) -> Grid | AnyFigure:
    """Draw a figure again from its numbers alone.

    Parameters
    ----------
    data : Dataset
        ``grid.data`` of the result of a function in ``isoklx.plot``, or its netCDF file opened with
        xarray. The attribute ``figure`` names the function; display options such as ``linear`` and
        ``kl_ymax`` are attributes too.
    width : float or {"column", "page"}, optional
        Width of the figure in inches; a column is 3.3 and a page 7. Default: ``figure.figsize`` of
        the style, or a width chosen from the number of panels.
    title : bool or str
        Whether to write the original title above the figure, or a text to write instead.
    subfigure : Figure or SubFigure, optional
        Figure to draw into, instead of a new one.

    Returns
    -------
    FacetGrid or Figure
        The type that the original function returned. The picture is the same if the width and the
        title are.

    Raises
    ------
    DatasetError
        If `data` is not the numbers of a figure, or is incomplete.
    UsageError
        If the width is out of range.

    Examples
    --------
    >>> import isoklx
    >>> grid = isoklx.plot.figure1(isoklx.open_sweep("data/sample"), alphas=[1, 2], linear=True)
    >>> redraw(grid.data).axs.shape
    (2, 2)
    """
    page = Page(width, title, subfigure)
    if not isinstance(data, xr.Dataset):
        raise DatasetError(f"expected xarray.Dataset, got {type(data).__name__}: pass grid.data")
    kind = data.attrs.get("figure")
    if kind not in KINDS:
        raise DatasetError("the Dataset is not the numbers of a figure: pass grid.data")
    try:
        return KINDS[kind](data.compute(), page)
    except KeyError as error:
        raise DatasetError(f"the numbers of the figure are incomplete: {error.args[0]}") from error
