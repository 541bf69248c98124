"""Effect of a dose on answers to yes/no questions: bias to "true", and correct answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from isoklx.stats.kernels import clusters
from isoklx.stats.pooled import Pooled


def answer_changes(p_true: xr.DataArray, answer: xr.DataArray, pooled: Pooled) -> xr.Dataset:
    """Estimate ``acquiescence`` and ``correct``: the change of p_true from alpha 0, per cell."""
    # Recorded answers, along cell and question: 1 true, 0 false, NaN not recorded.
    answer = answer.astype(np.float64)
    alphas = p_true["alpha"].values
    zero = np.flatnonzero(alphas == 0)
    base = p_true.isel(alpha=zero[0], drop=True) if zero.size else p_true.sum("alpha") * np.nan
    change = (p_true - base).astype(np.float64).mean("fork")
    at_zero = int(zero[0]) if zero.size else 0
    toward = change * (2 * answer - 1)
    return xr.Dataset(
        {
            **_estimates("acquiescence", change, None, pooled, at_zero),
            **_estimates("correct", toward, answer, pooled, at_zero),
        }
    )


def _estimates(
    name: str, change: xr.DataArray, answer: xr.DataArray | None, pooled: Pooled, at_zero: int
) -> dict[str, xr.DataArray]:
    """Average over distinct cells, then over the questions that all of these cells have."""
    known = change.notnull()
    used = _distinct(known.any("question"), pooled.code, at_zero)
    n_cells = pooled.sum(used)
    total = pooled.sum(change.fillna(0.0) * used)
    classes = [known] if answer is None else [known & (answer == 1), known & (answer == 0)]
    shared = [(pooled.sum(each & used) == n_cells) & (n_cells > 0) for each in classes]
    mean = total / n_cells.where(n_cells > 0)
    if answer is None:
        (there,) = shared
        value, bounds = pooled.estimate(
            clusters.mean, [mean.where(there, 0.0), there.astype(int)], "question"
        )
    else:
        value, bounds = pooled.estimate(
            clusters.macro_mean, [mean.fillna(0.0), *shared], "question"
        )
    questions = xr.concat(shared, "class").sum(["class", "question"])
    return {
        name: value,
        f"{name}_ci": bounds,
        f"{name}_n_cells": n_cells.astype(np.int64),
        f"{name}_n_questions": questions.astype(np.int64),
    }


def _distinct(has: xr.DataArray, code: xr.DataArray | None, at_zero: int) -> xr.DataArray:
    """Keep the first of the cells that are duplicates both at a dose and at alpha 0."""
    if code is None:
        return has
    kept: xr.DataArray = xr.apply_ufunc(
        _first_of_each_pair,
        has,
        code,
        code.isel(alpha=at_zero, drop=True),
        input_core_dims=[["cell"]] * 3,
        output_core_dims=[["cell"]],
        dask="parallelized",
        output_dtypes=[np.bool_],
        dask_gufunc_kwargs={"allow_rechunk": True},
    )
    return kept


def _first_of_each_pair(
    has: npt.NDArray[np.bool_], code: npt.NDArray[Any], base: npt.NDArray[Any]
) -> npt.NDArray[np.bool_]:
    """Mark the first marked cell (last axis) of each pair of codes."""
    kept = np.zeros_like(has)
    pairs = np.broadcast_to(code * has.shape[-1] + base, has.shape)
    for at in np.ndindex(has.shape[:-1]):
        there = np.flatnonzero(has[at])
        kept[at][there[np.unique(pairs[at][there], return_index=True)[1]]] = True
    return kept
