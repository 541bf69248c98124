"""Headline table: the calibrated coefficient by model, method and window."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from isoklx import schema
from isoklx.stats.groups import split_by
from isoklx.stats.selection import restore_dims

HEADLINE_KEYS = ("model_short", "method", "window")
STEPS = ("calib_coeff", "calib_kl_p95")


def headline_table(ds: xr.Dataset) -> pd.DataFrame:
    """Tabulate the calibrated coefficient by model, method and window.

    Parameters
    ----------
    ds : Dataset
        A sweep or any selection of it. Cells that were calibrated but not swept count too, and so
        do duplicates.

    Returns
    -------
    DataFrame
        Rows sorted by the first three columns.

        model_short, method, window
            Labels of the row. If two models of the selection have the same short name, the full
            name is used, so that they are never combined.
        sign, temperature
            Side of the direction, and temperature. Each column is present only if a row would
            otherwise combine several of them.
        c_mean
            Mean of ``c_star`` over seeds. Cells with the same seed (another layer, another root)
            are averaged first.
        c_std
            Standard deviation (ddof 1) over the `n_distinct` calibrations; NaN for a single one.
        n_seeds
            Number of different seeds.
        c_cv
            ``c_std / |c_mean|``; NaN for a single calibration, or if the mean is 0.
        n_distinct
            Number of seeds with distinct calibrations. Two calibrations are duplicates if
            ``c_star`` and all steps are equal; duplicates do not show how seeds differ.

    Raises
    ------
    DatasetError
        If `ds` is not a sweep.

    Examples
    --------
    >>> import isoklx
    >>> table = headline_table(isoklx.open_sweep("data/sample"))
    >>> list(table.columns)
    ['model_short', 'method', 'window', 'c_mean', 'c_std', 'n_seeds', 'c_cv', 'n_distinct']
    """
    names = ["model", *HEADLINE_KEYS, "seed", "c_star"]
    steps = [name for name in STEPS if name in schema.variables_of(ds)]
    schema.require(ds, [*names, *steps])
    ds = restore_dims(ds)
    cells = _columns(ds, names).assign(steps=_steps(ds, steps))
    namesakes = cells.groupby("model_short")["model"].transform("nunique") > 1
    cells["model_short"] = cells["model_short"].where(~namesakes, cells["model"])
    named = ds.assign_coords(model_short=("cell", cells["model_short"].to_numpy(dtype=str)))
    keys = split_by(named, HEADLINE_KEYS)
    cells = cells.assign(**{name: ds[name].values for name in keys[len(HEADLINE_KEYS) :]})
    per_seed = cells.groupby([*keys, "seed"], dropna=False)["c_star"].mean()
    unique = cells.drop_duplicates([*keys, "c_star", "steps"])
    seed_means = unique.groupby([*keys, "seed"], dropna=False)["c_star"].mean()
    distinct = seed_means.groupby(keys, dropna=False)
    table = per_seed.groupby(keys, dropna=False).agg(c_mean="mean", n_seeds="size")
    table["c_std"] = distinct.std()
    table["c_cv"] = table["c_std"] / table["c_mean"].abs().replace(0, np.nan)
    table["n_distinct"] = distinct.size()
    return table.reset_index()[[*keys, "c_mean", "c_std", "n_seeds", "c_cv", "n_distinct"]]


def _steps(ds: xr.Dataset, names: list[str]) -> list[bytes]:
    """Return the calibration steps of each cell as bytes that can be compared."""
    columns = [ds[name].transpose("cell", "iteration").values for name in names]
    steps = np.concatenate([np.empty((ds.sizes["cell"], 0)), *columns], axis=1)
    return [each.tobytes() for each in np.where(np.isnan(steps), np.nan, steps + 0.0)]


def _columns(ds: xr.Dataset, names: list[str]) -> pd.DataFrame:
    return pd.DataFrame({name: ds[name].values for name in names})
