"""The numbers behind a figure as one table: a row per value, for any other program that draws."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from isoklx.cells.atomic import replacing
from isoklx.cells.paths import as_path

PANEL = "panel"
COUNTS = ("n", "n_distinct")
OF_ANSWERS = ("n_answers", "n_answers_distinct")
"""The same of the answers of Figure 1, which are another number where they are of questions."""
TOTALS = ("total_n", "total_n_distinct")
"""Of all panels together, as in the title."""

POSITIONS = {"fork": "token", "time": "token"}
"""Where something is along a rollout is one thing, whatever it is called."""

LINES = ("answer_line", "line")
"""Dimensions of what is drawn line by line, and beginnings of what its lines are called."""

NAN = "nan"
"""As pgfplots reads it; it stumbles over an empty cell."""


def tidy(data: xr.Dataset) -> pd.DataFrame:
    """Put all numbers of a figure into one table.

    Parameters
    ----------
    data : Dataset
        The ``data`` of what a function of `isoklx.plot` returned.

    Returns
    -------
    DataFrame
        The column ``panel`` says which quantity a row is of, further ones where it lies (``alpha``,
        ``token``, ``run_id``, ``prompt``, labels that groups differ in), with NaN where that says
        nothing. Its numbers are in ``value``, with ``lower`` and ``upper`` of its interval; of
        quantiles in ``p10``, ``p50``, ``p90``. ``n`` and ``n_distinct`` are those of the panel.

    Examples
    --------
    >>> import isoklx
    >>> grid = isoklx.plot.figure1(isoklx.open_sweep("data/sample"), alphas=[1], kl_only=True)
    >>> tidy(grid.data).columns.tolist()
    ['panel', 'alpha', 'token', 'p10', 'p50', 'p90', 'value', 'n', 'n_distinct']
    """
    table = pd.concat(list(_blocks(data)), ignore_index=True)
    numbers = [name for name in table if str(name) in ("value", "lower", "upper")]
    numbers += [name for name in table if str(name)[:1] == "p" and str(name)[1:].isdigit()]
    counts = [name for name in COUNTS if name in table]
    where = [name for name in table if name not in (PANEL, *numbers, *counts)]
    table = table.astype(dict.fromkeys(counts, "Int64"))
    shown = ["p10", "p25", "p50", "p75", "p90", "value", "lower", "upper"]
    return table[[PANEL, *where, *(name for name in shown if name in numbers), *counts]]


def write_data(data: xr.Dataset, folder: str | Path, stem: str) -> Path:
    """Write the numbers of a figure as ``STEM_data.csv``, whole or not at all.

    Parameters
    ----------
    data : Dataset
        As for `tidy`.
    folder : path
        Where to; there is one.
    stem : str
        Name of the figure's files without their suffix.

    Returns
    -------
    Path

    Raises
    ------
    BuildError
        When it cannot be written.
    """
    path = as_path(folder) / f"{stem}_data.csv"
    table = tidy(data)
    with replacing(path) as partial:
        table.to_csv(partial, index=False, na_rep=NAN)
    return path


def _blocks(data: xr.Dataset) -> Iterator[pd.DataFrame]:
    """The rows of each quantity."""
    for name, da in data.data_vars.items():
        said = str(name)
        counted = (*COUNTS, *OF_ANSWERS, *TOTALS)
        if da.dtype.kind not in "fiub" or said.endswith("_ci") or said in counted:
            continue
        columns = _columns(da, data.get(f"{said}_ci"))
        dims = list(next(iter(columns.values())).dims)
        counts = {
            name: data[each]
            for name, each in zip(COUNTS, _counts_of(said, data), strict=True)
            if each in data and set(data[each].dims) <= set(dims)
        }
        if not dims:
            rows = pd.DataFrame({each: [column.item()] for each, column in columns.items()})
        else:
            whole = xr.Dataset({**columns, **counts})
            rows = whole.to_dataframe(dim_order=dims).reset_index()
        rows = rows.dropna(subset=list(columns), how="all")
        rows.insert(0, PANEL, said)
        yield rows.rename(columns=_plainly).drop(columns=[*LINES, "target"], errors="ignore")


def _counts_of(name: str, data: xr.Dataset) -> tuple[str, str]:
    """What counts the trajectories of a quantity."""
    answers = data.attrs.get("answers")
    return OF_ANSWERS if answers and name in (answers, f"{answers}_median") else COUNTS


def _columns(da: xr.DataArray, bounds: xr.DataArray | None) -> dict[str, xr.DataArray]:
    """The numbers of a quantity, each under the name of its column."""
    if "quantile" in da.dims:
        return {
            f"p{100 * q:g}": da.sel(quantile=q, drop=True) for q in da["quantile"].values.tolist()
        }
    found: dict[str, xr.DataArray] = {"value": da}
    if bounds is not None:
        for bound in ("lower", "upper"):
            found[bound] = bounds.sel(ci_bound=bound, drop=True)
    return found


def _plainly(name: Any) -> Any:
    for dim in LINES:
        if str(name).startswith(f"{dim}_"):
            return str(name).removeprefix(f"{dim}_")
    return POSITIONS.get(name, name)
