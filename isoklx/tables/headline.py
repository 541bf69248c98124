"""The headline table: the calibrated coefficient by model, method and window."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from isoklx import schema
from isoklx.stats.selection import restore_dims

HEADLINE_KEYS = ("model_short", "method", "window")


def headline_table(ds: xr.Dataset) -> pd.DataFrame:
    """Tabulate the calibrated coefficient by model, method and window.

    Parameters
    ----------
    ds : Dataset
        A sweep or any selection of it. Cells that were calibrated and not swept count too, and so
        do cells that repeat each other.

    Returns
    -------
    DataFrame
        Rows sorted by the first three columns.

        model_short, method, window
            What a row is of. Where two models of the selection have the same short name, it is
            the full name, so that they are never taken together.
        c_mean
            Mean of ``c_star`` over seeds. Several cells of one seed (another layer, another root)
            count once, with the mean of their ``c_star``.
        c_std
            Standard deviation over seeds (ddof 1); NaN for a single seed.
        n_seeds
            Number of different seeds.
        c_cv
            ``c_std / |c_mean|``; NaN for a single seed, or where the mean is 0.

    Raises
    ------
    DatasetError
        When `ds` is not a sweep.

    Examples
    --------
    >>> import isoklx
    >>> table = headline_table(isoklx.open_sweep("data/sample"))
    >>> list(table.columns)
    ['model_short', 'method', 'window', 'c_mean', 'c_std', 'n_seeds', 'c_cv']
    """
    names = ["model", *HEADLINE_KEYS, "seed", "c_star"]
    schema.require(ds, names)
    cells = _columns(restore_dims(ds), names)
    namesakes = cells.groupby("model_short")["model"].transform("nunique") > 1
    cells["model_short"] = cells["model_short"].where(~namesakes, cells["model"])
    keys = list(HEADLINE_KEYS)
    per_seed = cells.groupby([*keys, "seed"])["c_star"].mean()
    table = per_seed.groupby(keys).agg(c_mean="mean", c_std="std", n_seeds="size")
    table["c_cv"] = table["c_std"] / table["c_mean"].abs().replace(0, np.nan)
    return table.reset_index()


def _columns(ds: xr.Dataset, names: list[str]) -> pd.DataFrame:
    return pd.DataFrame({name: ds[name].values for name in names})
