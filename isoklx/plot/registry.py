"""A figure drawn again from its own numbers, by whatever draws its kind."""

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
    """Draw a figure again from nothing but the numbers that it drew.

    Parameters
    ----------
    data : Dataset
        The ``data`` of what a function of ``isoklx.plot`` returned, or what ``data.to_netcdf`` made
        of it, opened with xarray. Its attribute ``figure`` says which function that was; options
        of how it looked, such as ``linear`` and ``kl_ymax``, are attributes too.
    width : float or {"column", "page"}, optional
        Of the figure, in inches; a column is 3.3 and a page 7. By default that of the style's
        ``figure.figsize``, or what the panels would like.
    title : bool or str
        Whether to write the title that it had above it; or one of your own.
    subfigure : Figure or SubFigure, optional
        To draw into, instead of a new figure.

    Returns
    -------
    FacetGrid or Figure
        As the function that drew it returned: the same picture, where the width and the title are
        the same.

    Raises
    ------
    DatasetError
        When these are not the numbers of a figure, or not all of them.
    UsageError
        When the width is out of range.

    Examples
    --------
    >>> import isoklx
    >>> grid = isoklx.plot.figure1(isoklx.open_sweep("data/sample"), alphas=[1, 2], linear=True)
    >>> redraw(grid.data).axs.shape
    (2, 2)
    """
    page = Page(width, title, subfigure)
    if not isinstance(data, xr.Dataset):
        raise DatasetError(f"{type(data).__name__} is no Dataset: give the data of a figure")
    kind = data.attrs.get("figure")
    if kind not in KINDS:
        raise DatasetError("not the numbers of a figure: give the data of one, as grid.data")
    try:
        return KINDS[kind](data.compute(), page)
    except KeyError as error:
        raise DatasetError(f"not all numbers of a figure: {error.args[0]}") from error
