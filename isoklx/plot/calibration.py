"""Figure of the calibrations: search steps, coefficients found, and KL on held-out prompts."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.gridspec import SubplotSpec
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from isoklx import schema
from isoklx.errors import DatasetError
from isoklx.plot import titles
from isoklx.plot.axes import set_log_ticks
from isoklx.plot.calibration_marks import ROW_KEYS, draw_cells
from isoklx.plot.page import (
    LETTER,
    AnyFigure,
    Page,
    ShownOnce,
    Width,
    columns_of,
    letters_in,
    points,
)
from isoklx.plot.palette import DASHES, ink, method_styles, paper, small_print
from isoklx.plot.titles import tick_label, typeset
from isoklx.stats.groups import occurring, split_by
from isoklx.stats.selection import restore_dims, with_absent
from isoklx.tables.calibration import HELD_OUT_RANGE, calibration_table

PAGE, COLUMN = 7.0, 3.5
"""Default width in inches of three panels, and of one."""

ROW = 0.21
"""Height in inches of a row of cells."""

LEAST_HEIGHT = 1.7
"""Minimum height of a panel in inches."""

LABELS, LEAST_LETTERS = 0.28, 20
"""Fraction of the width for the row names; letters of a name that always fit."""

NARROW = 6.5
"""Width in inches below which three panels do not fit side by side."""

FEW_ROWS = 14
"""Maximum number of rows for which the search steps stand beside the other panels."""

MANY = 100
"""Number of cells above which lines are rasterized."""

Floats = npt.NDArray[np.floating[Any]]

LABELLED = [
    *("run_id", "model", "model_short", "method", "row", "seed", "window", "target_stat", "coeff")
]
"""Coordinates of the numbers."""

HELD_OUT_TICKS = (0.1, 0.2, 0.4, HELD_OUT_RANGE[0], 1, HELD_OUT_RANGE[1], 2.5, 5)
DECADES = (0.001, 0.01, 0.1, 1, 10, 100, 1000)
"""Ticks of a held-out axis shorter than a decade, and of a longer one."""


def calibration(
    ds: xr.Dataset,
    *,
    width: Width | None = None,
    title: bool | str = True,
    subfigure: AnyFigure | None = None,
) -> AnyFigure:
    """Draw the calibration steps, the coefficients found, and the held-out p95 at alpha 1.

    Parameters
    ----------
    ds : Dataset
        A sweep or any selection of it; cells that were only calibrated are drawn too.
    width : float or {"column", "page"}, optional
        Width of the figure in inches; a column is 3.3 and a page 7. Below 6.5 inches the
        calibration steps are drawn above the other panels. By default the style's
        ``figure.figsize``, or as wide as the panels need.
    title : bool or str
        Write a title made from the data, or this text.
    subfigure : Figure or SubFigure, optional
        Draw into this instead of a new figure, and return it.

    Returns
    -------
    Figure
        Its attribute ``data`` holds the numbers drawn. Up to three axes, named by
        ``Axes.get_label``:

        bisection
            The steps of each calibration: the statistic of KL in ``target_stat`` ("p95" or "mean";
            "rms" is not recorded) against the magnitude of the coefficient, with one line per cell
            and sign, dashes by model, the target, and a large mark at ``c_star`` (at the end of the
            line if ``c_star`` is beyond all steps). Omitted if no cell records its steps.
        c_star
            One mark per cell, in a row per model, method and window, and per side and temperature
            if they differ. Overlapping marks are stacked.
        heldout
            p95 of KL at alpha 1 divided by the target, with its 95% interval over prompts, and the
            range in which a calibration carries over. A mark is filled if the whole interval is in
            the range, otherwise open (outside, or unclear). Omitted if no cell calibrated to a p95
            was run at alpha 1.

    Raises
    ------
    DatasetError
        If `ds` is not a sweep, or no cell has a ``c_star``.
    UsageError
        If the width is out of range.

    Examples
    --------
    >>> import isoklx
    >>> figure = calibration(isoklx.open_sweep("data/sample"))
    >>> [ax.get_label() for ax in figure.axes]
    ['bisection', 'c_star', 'heldout']
    """
    page = Page(width, title, subfigure)
    schema.require(ds, ["c_star"])
    ds = with_absent(restore_dims(ds), ["target_stat"])
    ds = ds.isel(cell=np.flatnonzero(np.isfinite(ds["c_star"].values)))
    if not ds.sizes["cell"]:
        raise DatasetError("nothing to draw: no cell of this sweep has a c_star")
    return draw_numbers(_numbers(ds), page)


def draw_numbers(drawn: xr.Dataset, page: Page) -> AnyFigure:
    """Draw the figure from its numbers, along ``cell`` and (the search steps) ``iteration``."""
    cells = _cell_table(drawn)
    names = _names_width(page.inches(PAGE))
    rows = _rows(cells, max(LEAST_LETTERS, letters_in(names, points("tick"))))
    panels: dict[str, Callable[[Axes], str]] = {}
    if drawn["bisection"].notnull().any():
        panels["bisection"] = lambda ax: _draw_search(ax, drawn, cells)
    panels["c_star"] = lambda ax: _draw_c_star(ax, cells, rows)
    if cells["heldout"].notna().any():
        panels["heldout"] = lambda ax: _draw_heldout(ax, cells, rows)
    figure, places = _lay_out(page, drawn, list(panels), len(rows), _model_dashes(cells))
    for letter, (name, draw) in zip("abc", panels.items(), strict=False):
        ax = figure.add_subplot(places[name], label=name)
        ax.tick_params(labelsize=points("tick"))
        letters = letters_in(_panel_width(page, name, list(panels), len(rows)), points("panel"))
        title = textwrap.fill(f"({letter}) {draw(ax)}", letters - 2)
        ax.set_title(title, fontsize=points("panel"), loc="left")
        ax.set_xlabel(textwrap.fill(ax.get_xlabel(), letters), fontsize=points("label"))
        ax.yaxis.label.set_fontsize(points("label"))
        ax.spines[["top", "right"]].set_visible(False)
    page.put_title(figure, drawn.attrs["title"])
    if "bisection" in panels:
        _put_model_legend(figure, _model_dashes(cells))
    typeset(figure)
    figure.data = drawn  # type: ignore[union-attr]
    return figure


def _numbers(ds: xr.Dataset) -> xr.Dataset:
    """Compute the numbers to draw, in memory."""
    table = calibration_table(ds)
    n, n_distinct = len(table), (table["repeats"] == "").sum()
    size = f"{n} cell{'s' if n > 1 else ''} ({n_distinct} distinct)"
    stat = ds["target_stat"].values.astype(str)
    names = ["run_id", "model_short", "method", "seed", "window", "c_star", "target_kl"]
    columns: dict[str, Any] = {name: ("cell", table[name].to_numpy()) for name in names}
    bounds = table[["heldout_kl_p95", "heldout_lower", "heldout_upper"]].to_numpy()
    relative = np.where(stat == "p95", bounds.T / table["target_kl"].to_numpy(), np.nan)
    tried = {"p95": ds["calib_kl_p95"], "mean": ds["calib_kl_mean"]}
    nothing = xr.full_like(ds["calib_kl_p95"], np.nan)
    by_cell = [tried.get(name, nothing).values[i] for i, name in enumerate(stat)]
    columns |= {
        "model": ("cell", ds["model"].values),
        "row": ("cell", _row_names(ds)),
        "target_stat": ("cell", stat),
        "heldout": ("cell", relative[0]),
        "heldout_ci": (("cell", "ci_bound"), relative[1:].T),
        "heldout_in_range": ("cell", table["heldout_in_range"].fillna("").to_numpy(str)),
        "coeff": (("cell", "iteration"), ds["calib_coeff"].values),
        "bisection": (("cell", "iteration"), np.array(by_cell).reshape(nothing.shape)),
    }
    bound = {"ci_bound": ["lower", "upper"]}
    attrs = {"figure": "calibration", "title": titles.described(ds, "Calibration", size=size)}
    return xr.Dataset(columns, bound, attrs).set_coords(LABELLED)


def _row_names(ds: xr.Dataset) -> npt.NDArray[np.str_]:
    """Return the row name of each cell: its method, with side and temperature if they differ."""
    names = np.empty(ds.sizes["cell"], dtype=object)
    keys = split_by(ds, ["model", "method", "window"])
    for labels, cells in occurring(ds, [key for key in keys if key not in ("model", "window")]):
        names[cells] = titles.group_name(labels)
    return names.astype(str)


def _lay_out(
    page: Page, drawn: xr.Dataset, names: list[str], n_rows: int, dashes: dict[str, Any]
) -> tuple[AnyFigure, dict[str, SubplotSpec]]:
    """Make the figure and a place for each panel: side by side, or the search steps on top."""
    heights = {"bisection": LEAST_HEIGHT, "rows": max(LEAST_HEIGHT, ROW * n_rows)}
    wanted = PAGE if len(names) > 1 else COLUMN
    inches = page.inches(wanted)
    words = page.title_height(drawn.attrs["title"], wanted) + 0.7
    if len(dashes) > 1 and "bisection" in names:
        words += ROW * -(-len(dashes) // columns_of(list(dashes), inches, points("legend")))
    if _in_one_row(inches, names, n_rows):
        figure = page.new(wanted, heights["rows"] + words, ShownOnce)
        grid = figure.add_gridspec(1, len(names))
        return figure, {name: grid[i] for i, name in enumerate(names)}
    figure = page.new(wanted, sum(heights.values()) + words + 0.5, ShownOnce)
    grid = figure.add_gridspec(2, len(names) - 1, height_ratios=list(heights.values()))
    places = {"bisection": grid[0, :]} | {name: grid[1, i] for i, name in enumerate(names[1:])}
    return figure, places


def _in_one_row(inches: float, names: list[str], n_rows: int) -> bool:
    """Return whether all panels stand in one row."""
    few = len(names) == 1 or names[0] != "bisection" or n_rows <= FEW_ROWS
    return few and (len(names) < 3 or inches >= NARROW)


def _panel_width(page: Page, name: str, names: list[str], n_rows: int) -> float:
    """Estimate the width of a panel with its labels, in inches."""
    inches = page.inches(PAGE if len(names) > 1 else COLUMN)
    if _in_one_row(inches, names, n_rows):
        return (1 - LABELS / 2) * inches / len(names)
    beside = inches - _names_width(inches)
    return beside if name == "bisection" else beside / (len(names) - 1)


def _names_width(inches: float) -> float:
    """Return the width of the row names on a page of so many inches."""
    return max(LABELS * inches, LEAST_LETTERS * LETTER * points("tick") / 72)


def _model_dashes(cells: pd.DataFrame) -> dict[str, Any]:
    """Map each model's name in the legend to its line style."""
    dashes = dict(sorted(zip(cells["model"], cells["dashes"], strict=True)))
    return {titles.literal(model): style for model, style in dashes.items()}


def _put_model_legend(figure: AnyFigure, dashes: dict[str, Any]) -> None:
    """Put a legend of the models' line styles, if there are several models."""
    if len(dashes) == 1:
        return
    figure.legend(
        handles=[
            Line2D([], [], color=ink(), linewidth=0.8, linestyle=style, label=model)
            for model, style in dashes.items()
        ],
        loc="outside lower left",
        ncols=columns_of(list(dashes), figure.bbox.width / figure.dpi, points("legend")),
        fontsize=points("legend"),
        frameon=False,
    )


def _cell_table(drawn: xr.Dataset) -> pd.DataFrame:
    """Tabulate the numbers per cell, with the colour, marker and dashes of each."""
    names = [name for name in drawn.variables if drawn[name].dims == ("cell",)]
    cells = pd.DataFrame({name: drawn[name].values for name in names})
    for bound in ("lower", "upper"):
        cells[bound] = drawn["heldout_ci"].sel(ci_bound=bound).values
    namesakes = cells.groupby("model_short")["model"].transform("nunique") > 1
    cells["model"] = cells["model_short"].where(~namesakes, cells["model"])
    styles = method_styles(cells["method"])
    cells["colour"], cells["marker"] = zip(*cells["method"].map(styles), strict=True)
    dashes = dict(zip(sorted(set(cells["model"])), cycle(DASHES), strict=False))
    cells["dashes"] = cells["model"].map(dashes)
    return cells


def _rows(cells: pd.DataFrame, letters: int) -> pd.DataFrame:
    """List the rows (model, method, window), with a heading per model if there are several."""
    literal = partial(titles.literal, longest=min(letters, titles.LONGEST_NAME))
    rows = cells[[*ROW_KEYS, "colour"]].drop_duplicates(ROW_KEYS)
    rows = rows.assign(label=[literal(name) for name in rows["row"]], heading=False)
    if cells["window"].nunique() > 1:
        rows["label"] += ", w" + rows["window"].astype(str)
    if cells["model"].nunique() > 1:
        headings = rows.drop_duplicates("model").assign(
            method="", row="", colour=ink(), heading=True
        )
        headings["label"] = [literal(name) for name in headings["model"]]
        rows = pd.concat([headings, rows])
    return rows.sort_values(ROW_KEYS, ignore_index=True)


def _draw_search(ax: Axes, drawn: xr.Dataset, cells: pd.DataFrame) -> str:
    """Draw the search steps; return the panel's title."""
    tried, p95 = drawn["coeff"].values, drawn["bisection"].values
    opacity = float(np.clip(12 / len(cells), 0.2, 1))
    shared = {"alpha": opacity, "rasterized": len(cells) > MANY}
    for i, cell in enumerate(cells.to_dict("records")):
        for sign in (-1, 1):
            _draw_steps(ax, sign * tried[i], p95[i], cell, sign * cell["c_star"], shared)
    for target in cells["target_kl"].dropna().unique():
        ax.axhline(target, color=ink(), linewidth=0.8, linestyle="--", zorder=1)
    ax.set_xscale("log")
    ax.set_yscale("log")
    set_log_ticks(ax.xaxis)
    set_log_ticks(ax.yaxis)
    ax.annotate(
        "target",
        (0, cells["target_kl"].max()),
        (2, 2),
        xycoords=ax.get_yaxis_transform(),
        textcoords="offset points",
        fontsize=points("tick"),
    )
    ax.set_xlabel("|coefficient|" if (tried < 0).any() else "coefficient")
    stats = sorted(set(cells["target_stat"]) - {"rms"})
    ax.set_ylabel(f"{' or '.join(stats)} of KL (nats)")
    absent = (cells["target_stat"] == "rms").sum()
    return (
        f"search steps; rms of {absent} not recorded" if absent else "search steps; large: c_star"
    )


def _draw_steps(
    ax: Axes, tried: Floats, p95: Floats, cell: Any, c_star: float, shared: dict[str, Any]
) -> None:
    """Draw one cell's steps at positive coefficients, and its c_star if it is positive."""
    known = np.flatnonzero((tried > 0) & (p95 > 0))
    if not known.size:
        return
    known = known[np.argsort(tried[known], kind="stable")]
    coeff, kl = tried[known], p95[known]
    style = {"color": cell["colour"], "marker": cell["marker"], **shared}
    ax.plot(coeff, kl, linewidth=0.8, linestyle=cell["dashes"], markersize=2.5, **style)
    if c_star > 0:
        # If c_star itself was a step, this is exactly its measured value.
        at = np.exp(np.interp(np.log(c_star), np.log(coeff), np.log(kl)))
        ax.plot(c_star, at, markersize=6, markeredgecolor=paper(), **style)


def _draw_c_star(ax: Axes, cells: pd.DataFrame, rows: pd.DataFrame) -> str:
    low, high = cells["c_star"].min(), cells["c_star"].max()
    margin = 0.1 * (high - low) or 0.1 * abs(high) or 1
    ax.set_xlim(low - margin, high + margin)
    marks = cells.assign(x=cells["c_star"], filled=True, lower=np.nan, upper=np.nan)
    draw_cells(ax, marks, rows)
    ax.set_yticks(range(len(rows)), [tick_label(label) for label in rows["label"]])
    ax.tick_params(left=False)
    for label, colour, heading in zip(
        ax.get_yticklabels(), rows["colour"], rows["heading"], strict=True
    ):
        label.set(color=small_print(colour), fontweight="bold" if heading else "normal")
    ax.set_xlabel("c_star")
    return "c_star, one mark per cell"


def _draw_heldout(ax: Axes, cells: pd.DataFrame, rows: pd.DataFrame) -> str:
    ran = cells[cells["heldout"].notna()]
    ax.axvspan(*HELD_OUT_RANGE, color=ink(), alpha=0.1, linewidth=0, zorder=0)
    ax.axvline(1, color=ink(), linewidth=0.8, linestyle="--", zorder=1)
    # An interval that reaches 0 cannot set the limit of a logarithmic axis.
    lower = ran["lower"].where(ran["lower"] > 0)
    low = min(0.62, 0.9 * np.fmin.reduce([*ran["heldout"], *lower]))
    high = max(1.6, 1.1 * np.nanmax(ran[["heldout", "upper"]].to_numpy()))
    if (ran["heldout"] > 0).all():
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(FixedLocator(HELD_OUT_TICKS if high < 10 * low else DECADES))
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_locator(NullLocator())
    ax.set_xlim(low, high)
    in_range = ran["heldout_in_range"]
    draw_cells(ax, ran.assign(x=ran["heldout"], filled=in_range == "yes"), rows)
    ax.tick_params(left=False, labelleft=False)
    ax.spines["left"].set_visible(False)
    ax.set_xlabel(f"held-out p95 / target, {titles.dose(1)}")
    unclear = (in_range == "unclear").sum()
    inside = f"{(in_range == 'yes').sum()} of {len(ran)}"
    return f"{inside} in range" + f", {unclear} unclear" * bool(unclear)
