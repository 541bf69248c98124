"""The calibration table: whether the calibration of each cell can be trusted."""

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
"""What its columns are empty without."""

TOLERANCE = 0.05
"""Nats by which a bisection may miss its target; what it stops at."""

HELD_OUT_RANGE = (0.7, 1.4)
"""Held-out p95 at alpha 1, in units of the target, of a calibration that carries over."""

SUMMARIES = ("coeff", "kl_p95", "calib_coeff", "calib_kl_mean", "calib_kl_p95")
FLAGS = ("target_stat", "calib_newer")
"""What the table is made of, beside the measured arrays."""

EQUAL = 1e-9
"""Where two numbers are compared, they are equal to this."""

ROUNDING = 1e-6
"""KL below this, in nats, is the rounding of float32, as at alpha 0."""


def calibration_table(ds: xr.Dataset) -> pd.DataFrame:
    """Tabulate, for each cell, whether its calibration can be trusted.

    Parameters
    ----------
    ds : Dataset
        A sweep or any selection of it. Dask-backed arrays are reduced block by block, and cells
        compared as by `isoklx.repeats`.

    Returns
    -------
    DataFrame
        One row per cell, in the order of `ds`. Whatever a cell has no data for is NaN, NA in the
        two columns of nullable booleans, or None in that of words.

        run_id, model_short, method, seed, window
            Which cell.
        c_star, target_kl
            The calibrated coefficient, and the p95 of KL that it aims at, in nats.
        calib_kl_p95
            p95 of KL at the last step of the bisection, in nats.
        converged : boolean
            Whether that is within 0.05 nats of the target. Where ``target_stat`` is "mean" the mean
            of KL is compared; where it is "rms", which the bisection does not record, it is NA.
        pinned : boolean
            Whether it is not, and ``c_star`` is at an end of what was tried: no coefficient tried
            was smaller, or none was larger, in magnitude. The bisection ran into its limit.
        heldout_kl_p95
            p95 of KL at alpha 1 on held-out prompts, in nats.
        heldout_lower, heldout_upper
            Its 95% interval over prompts, by Woodruff (1952) from the KL itself; NaN of a single
            prompt. With 8 prompts it covered the truth in 93% of simulated cases, and percentiles
            of a bootstrap in 84% (docs/coverage.md).
        heldout_in_range : str
            Whether it is in [0.7, 1.4] times the target: ``"yes"`` where all of the interval is,
            ``"no"`` where none of it is, else ``"unclear"``; None where the target is not a p95.
        kl_max_alpha0
            Largest per-token KL at alpha 0, in nats: rounding, if nothing was steered there.
        pmass_eval_alpha0, pmass_alpha0
            Mean of ``pmass_eval`` over prompts, and of ``pmass`` over questions, and forks at
            alpha 0: how alive the model is that nothing was done to.
        kl_p95_mismatch
            Largest relative difference, over alphas, between ``kl_p95`` and the p95 of ``kl``
            itself; that of two values below 1e-6 nats is 0. It is 0 as well where the run had
            recorded none, because ``kl_p95`` then comes from ``kl``.
        coeff_mismatch
            Largest relative difference, over alphas, between ``coeff`` and alpha * ``c_star``:
            0, unless the doses were run with another calibration.
        c_star_tried : boolean
            Whether a step of the bisection tried ``c_star``.
        calib_newer : boolean
            Whether the calibration is newer than the results beside it (by the times of the files
            when they were read), which may then be those of an earlier run. NA for a cell without
            results.
        repeats
            ``run_id`` of the first cell that this one repeats to the byte, empty unless it repeats
            others at every dose that it was run at: the rows with an empty one are the distinct
            cells.

    Raises
    ------
    DatasetError
        When `ds` is not a sweep.

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
    found = _reduced(ds, labels)
    table = _columns(found, labels)
    target = table["target_kl"].to_numpy()

    table["calib_kl_p95"] = p95 = _last(found["calib_kl_p95"].values)
    stat = found["target_stat"].values.astype(str)
    reached = np.select(
        [stat == "p95", stat == "mean"], [p95, _last(found["calib_kl_mean"].values)], np.nan
    )
    on_target = np.abs(reached - target) <= TOLERANCE + EQUAL
    at_end = _at_an_end(table["c_star"].to_numpy(), found["calib_coeff"].values)
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
    _add_contradictions(table, found)
    compared = compare(ds)
    first = np.where(compared.repeated, compared.first, len(table)).min(axis=1, initial=len(table))
    table["repeats"] = np.where(compared.redundant, np.append(compared.run_ids, "")[first], "")
    return table


def _add_contradictions(table: pd.DataFrame, found: xr.Dataset) -> None:
    """What says that a cell's files are of two runs."""
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


def _reduced(ds: xr.Dataset, labels: list[str]) -> xr.Dataset:
    """All that the calibration table needs, without prompts and tokens, in memory."""
    found = ds[[*labels, *SUMMARIES, *FLAGS]].assign(
        kl_quantiles=quantile(ds["kl"], [0.95, 1], ["prompt", "token"]).transpose("cell", ...),
        heldout=_over_prompts(_at(ds["kl"], 1)),
        pmass_eval_alpha0=_mean(_at(ds["pmass_eval"], 0), ["prompt", "fork"]),
        pmass_alpha0=_mean(_at(ds["pmass"], 0), ["question", "fork"]),
    )
    return found.compute()


def _over_prompts(kl: xr.DataArray) -> xr.DataArray:
    """The p95 of each cell and its interval."""
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
    """Whether intervals (cell, 2), in units of the target, lie in the range."""
    lowest, highest = HELD_OUT_RANGE
    lower, upper = bounds.T
    # The bounds are KL itself, rounded to float32.
    inside = (lower >= lowest - ROUNDING) & (upper <= highest + ROUNDING)
    outside = (upper < lowest - ROUNDING) | (lower > highest + ROUNDING)
    return np.where(inside, "yes", np.where(outside, "no", "unclear"))


def _at(da: xr.DataArray, alpha: float) -> xr.DataArray:
    """One dose; NaN in a sweep that has it not."""
    same = np.flatnonzero(schema.same_dose(da["alpha"].values, alpha))
    there = da.isel(alpha=same) if same.size else da.reindex(alpha=[float(alpha)])
    return there.isel(alpha=0, drop=True)


def _mean(da: xr.DataArray, dims: list[str]) -> xr.DataArray:
    """Mean that is NaN, without a warning, where there is nothing to average."""
    return da.astype(float).sum(dims, min_count=1) / da.count(dims)


def _last(steps: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Last number of each row (cell, iteration); NaN where there is none."""
    before = np.full((len(steps), 1), np.nan)
    steps = np.concatenate([before, steps], axis=1)
    last = np.where(np.isnan(steps), 0, np.arange(steps.shape[1])).max(axis=1)
    return np.take_along_axis(steps, last[:, np.newaxis], axis=1)[:, 0]


def _at_an_end(
    c_star: npt.NDArray[np.float64], tried: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Whether no coefficient in the row (cell, iteration) is smaller, or none is larger."""
    # A method whose direction is turned round has coefficients below 0.
    coeff, tried = np.abs(c_star)[:, np.newaxis], np.abs(tried)
    slack = EQUAL * coeff
    smaller, larger = tried < coeff - slack, tried > coeff + slack
    return np.logical_not(smaller.any(axis=1) & larger.any(axis=1))


def _nullable(values: npt.NDArray[np.bool_], known: npt.NDArray[np.bool_]) -> Any:
    return pd.arrays.BooleanArray(values, ~known)


def _largest_mismatch(
    recorded: npt.NDArray[np.float64], recomputed: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Largest relative difference along the last axis; NaN where no dose has both."""
    size = np.maximum(np.abs(recorded), np.abs(recomputed))
    difference = np.abs(recorded - recomputed) / np.maximum(size, ROUNDING)
    difference[size < ROUNDING] = 0
    largest: npt.NDArray[np.float64] = np.fmax.reduce(difference, axis=-1, initial=np.nan)
    return largest
