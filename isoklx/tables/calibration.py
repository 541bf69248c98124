"""Calibration table: convergence, held-out KL and consistency of each cell."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from isoklx import schema
from isoklx.cells import consistency
from isoklx.stats.along import whole_along
from isoklx.stats.deduplication import compare
from isoklx.stats.kernels.clusters import pooled_quantile
from isoklx.stats.selection import restore_dims, with_absent
from isoklx.stats.survival import LEVEL
from isoklx.stats.trajectories import quantile

CALIBRATION_KEYS = ("run_id",)
CALIBRATION_LABELS = (*CALIBRATION_KEYS, "model_short", "method", "seed", "window")

OPTIONAL = ("pmass_eval", "pmass")
"""Variables that may be absent; their columns are then empty."""

TOLERANCE = 0.05
"""Largest difference from the target, in nats, of a converged calibration."""

HELD_OUT_RANGE = (0.7, 1.4)
"""Acceptable held-out p95 at alpha 1, in units of the target."""

SUMMARIES = ("coeff", "kl_p95", "calib_coeff", "calib_kl_mean", "calib_kl_p95")
FLAGS = ("target_stat", "calib_newer")
"""Inputs of the table beside the measured arrays."""

EQUAL = 1e-9
"""Tolerance at which two numbers count as equal."""

ROUNDING = 1e-6
"""KL in nats below which differences are rounding errors of float32."""


def calibration_table(ds: xr.Dataset) -> pd.DataFrame:
    """Tabulate how far the calibration of each cell can be trusted.

    Parameters
    ----------
    ds : Dataset
        A sweep or any selection of it. Dask-backed arrays are reduced block by block. Cells are
        compared as by `isoklx.repeats`.

    Returns
    -------
    DataFrame
        One row per cell, in the order of `ds`. A missing value is NaN, NA in the columns of
        nullable booleans, or None in the column of text.

        run_id, model_short, method, seed, window
            Labels of the cell.
        c_star, target_kl
            The calibrated coefficient, and the target KL in nats.
        calib_kl_p95
            p95 of KL at the last step of the calibration, in nats.
        converged : boolean
            True if ``calib_kl_p95`` is within 0.05 nats of the target. If ``target_stat`` is
            "mean", the mean of KL is compared instead; if it is "rms", which the calibration does
            not record, the value is NA.
        pinned : boolean
            True if the calibration did not converge and ``c_star`` is the smallest or the largest
            coefficient tried, in magnitude: the search ran into a limit.
        heldout_kl_p95
            p95 of KL at alpha 1 on held-out prompts, in nats.
        heldout_lower, heldout_upper
            Its 95% interval over prompts by the method of Woodruff (1952); NaN for a single
            prompt. With 8 prompts it covered the true value in 93% of simulated cases; bootstrap
            percentiles covered it in 84% (docs/coverage.md).
        heldout_in_range : str
            Compares that interval with the range from 0.7 to 1.4 times the target: ``"yes"`` if
            it lies inside, ``"no"`` if it lies outside, else ``"unclear"``; None if the target is
            not a p95.
        kl_max_alpha0
            Largest per-token KL at alpha 0, in nats: rounding error, if nothing was steered.
        pmass_eval_alpha0, pmass_alpha0
            Mean at alpha 0 of ``pmass_eval`` over prompts and forks, and of ``pmass`` over
            questions and forks: how well the unsteered model answers.
        kl_p95_mismatch
            Largest relative difference, over alphas, between the recorded ``kl_p95`` and the p95
            of ``kl``. Two values below 1e-6 nats count as equal. It is also 0 if the run did not
            record ``kl_p95``, which is then computed from ``kl``.
        coeff_mismatch
            Largest relative difference, over alphas, between ``coeff`` and alpha * ``c_star``:
            0 unless the doses were run with another calibration.
        c_star_tried : boolean
            True if the calibration tried ``c_star``.
        calib_newer : boolean
            True if the calibration file was newer than the results when they were read; the
            results may then belong to an earlier calibration. NA for a cell without results.
        repeats
            ``run_id`` of the first cell that this one duplicates byte for byte; empty unless it
            duplicates other cells at every dose. Rows with an empty value are the distinct cells.

    Raises
    ------
    DatasetError
        If `ds` is not a sweep.

    Examples
    --------
    >>> import isoklx
    >>> table = calibration_table(isoklx.open_sweep("data/sample"))
    >>> bool(table["converged"].all()), bool(table["pinned"].any())
    (True, False)
    """
    labels = [*CALIBRATION_LABELS, "c_star", "target_kl"]
    measured = ["kl", *SUMMARIES, *FLAGS]
    optional = [name for name in OPTIONAL if name in ds]
    schema.require(ds, [*labels, *measured, *optional, "alpha"])
    ds = with_absent(restore_dims(ds), OPTIONAL)
    found = _reduce(ds, labels)
    table = _columns(found, labels)
    target = table["target_kl"].to_numpy()

    table["calib_kl_p95"] = p95 = _last(found["calib_kl_p95"].values)
    stat = found["target_stat"].values.astype(str)
    reached = np.select(
        [stat == "p95", stat == "mean"], [p95, _last(found["calib_kl_mean"].values)], np.nan
    )
    on_target = np.abs(reached - target) <= TOLERANCE + EQUAL
    at_end = _is_at_limit(table["c_star"].to_numpy(), found["calib_coeff"].values)
    table["converged"] = _nullable(on_target, known=~np.isnan(reached))
    table["pinned"] = _nullable(at_end & ~on_target, known=~np.isnan(reached))

    table["heldout_kl_p95"] = held_out = _at(found["kl_p95"], 1).values
    bounds = found["heldout"].values[:, 1:]
    table["heldout_lower"], table["heldout_upper"] = bounds.T
    in_range = _in_range(bounds / target[:, np.newaxis])
    table["heldout_in_range"] = in_range.astype(object)
    table.loc[np.isnan(held_out) | (stat != "p95"), "heldout_in_range"] = None

    table["kl_max_alpha0"] = _at(found["kl_quantiles"].isel(quantile=1), 0).values
    for name in ("pmass_eval", "pmass"):
        table[f"{name}_alpha0"] = found[f"{name}_alpha0"].values
    table["kl_p95_mismatch"] = _largest_mismatch(
        found["kl_p95"].values, found["kl_quantiles"].isel(quantile=0).values
    )
    _add_consistency(table, found)
    compared = compare(ds)
    first = np.where(compared.repeated, compared.first, len(table)).min(axis=1, initial=len(table))
    table["repeats"] = np.where(compared.redundant, np.append(compared.run_ids, "")[first], "")
    return table


def _add_consistency(table: pd.DataFrame, found: xr.Dataset) -> None:
    """Add the columns that show whether the files of a cell belong to two runs."""
    c_star, tried = found["c_star"].values, found["calib_coeff"].values
    off = consistency.coeff_mismatch(
        found["coeff"].values, found["alpha"].values, c_star[:, np.newaxis]
    )
    table["coeff_mismatch"] = np.fmax.reduce(off, axis=-1, initial=np.nan)
    was_tried = consistency.was_tried(c_star, tried)
    table["c_star_tried"] = _nullable(was_tried, known=np.isfinite(tried).any(axis=1))
    results = np.isfinite(found["coeff"].values).any(axis=1)
    table["calib_newer"] = _nullable(found["calib_newer"].values == 1, known=results)


def _columns(ds: xr.Dataset, names: list[str]) -> pd.DataFrame:
    return pd.DataFrame({name: ds[name].values for name in names})


def _reduce(ds: xr.Dataset, labels: list[str]) -> xr.Dataset:
    """Reduce prompts and tokens; return the input of the calibration table in memory."""
    found = ds[[*labels, *SUMMARIES, *FLAGS]].assign(
        kl_quantiles=quantile(ds["kl"], [0.95, 1], ["prompt", "token"]).transpose("cell", ...),
        heldout=_p95_interval(_at(ds["kl"], 1)),
        pmass_eval_alpha0=_mean(_at(ds["pmass_eval"], 0), ["prompt", "fork"]),
        pmass_alpha0=_mean(_at(ds["pmass"], 0), ["question", "fork"]),
    )
    return found.compute()


def _p95_interval(kl: xr.DataArray) -> xr.DataArray:
    """Return p95 of KL of each cell with its interval over prompts (cell, 3)."""
    interval: xr.DataArray = xr.apply_ufunc(
        pooled_quantile,
        whole_along(kl, ["prompt", "token"]),
        kwargs={"q": 0.95, "level": LEVEL},
        input_core_dims=[["prompt", "token"]],
        output_core_dims=[["number"]],
        dask="parallelized",
        output_dtypes=[np.float64],
        dask_gufunc_kwargs={"output_sizes": {"number": 3}},
    )
    return interval


def _in_range(bounds: npt.NDArray[np.float64]) -> npt.NDArray[np.str_]:
    """Compare intervals (cell, 2), in units of the target, with `HELD_OUT_RANGE`."""
    lowest, highest = HELD_OUT_RANGE
    lower, upper = bounds.T
    # The bounds are KL values in float32; allow for their rounding.
    inside = (lower >= lowest - ROUNDING) & (upper <= highest + ROUNDING)
    outside = (upper < lowest - ROUNDING) | (lower > highest + ROUNDING)
    return np.where(inside, "yes", np.where(outside, "no", "unclear"))


def _at(da: xr.DataArray, alpha: float) -> xr.DataArray:
    """Select one dose; NaN in a sweep without it."""
    same = np.flatnonzero(schema.same_dose(da["alpha"].values, alpha))
    there = da.isel(alpha=same) if same.size else da.reindex(alpha=[float(alpha)])
    return there.isel(alpha=0, drop=True)


def _mean(da: xr.DataArray, dims: list[str]) -> xr.DataArray:
    """Average without a warning; NaN without values."""
    return da.astype(float).sum(dims, min_count=1) / da.count(dims)


def _last(steps: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the last number of each row (cell, iteration), NaN for an empty row."""
    before = np.full((len(steps), 1), np.nan)
    steps = np.concatenate([before, steps], axis=1)
    last = np.where(np.isnan(steps), 0, np.arange(steps.shape[1])).max(axis=1)
    return np.take_along_axis(steps, last[:, np.newaxis], axis=1)[:, 0]


def _is_at_limit(
    c_star: npt.NDArray[np.float64], tried: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Return whether c_star is the smallest or the largest coefficient tried, in magnitude."""
    # Coefficients on the negative side of a direction are negative.
    coeff, tried = np.abs(c_star)[:, np.newaxis], np.abs(tried)
    slack = EQUAL * coeff
    smaller, larger = tried < coeff - slack, tried > coeff + slack
    return np.logical_not(smaller.any(axis=1) & larger.any(axis=1))


def _nullable(values: npt.NDArray[np.bool_], known: npt.NDArray[np.bool_]) -> Any:
    return pd.arrays.BooleanArray(values, ~known)


def _largest_mismatch(
    recorded: npt.NDArray[np.float64], recomputed: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the largest relative difference along the last axis; NaN without a common dose."""
    size = np.maximum(np.abs(recorded), np.abs(recomputed))
    difference = np.abs(recorded - recomputed) / np.maximum(size, ROUNDING)
    difference[size < ROUNDING] = 0
    largest: npt.NDArray[np.float64] = np.fmax.reduce(difference, axis=-1, initial=np.nan)
    return largest
