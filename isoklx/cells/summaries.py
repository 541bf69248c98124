"""Summaries of KL in a cell's files, in the precision of the measurement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from isoklx.cells.parsing import FloatArray, IntArray

Floats = npt.NDArray[np.float64]

RESULTS_HEADER = "alpha,coeff,kl_p95,kl_mean,kl_max"


def float32(values: npt.ArrayLike) -> Floats:
    """Round to float32 but return float64, so that numbers print as measured values do."""
    return np.asarray(values, dtype=np.float32).astype(np.float64)


def p95_over_prompts(kl: Floats) -> Floats:
    """Return the p95 over the first axis, NaN skipped; 0.0 where all are NaN, as recorded."""
    ordered = np.sort(kl, axis=0)
    position = 0.95 * np.maximum(np.isfinite(kl).sum(axis=0) - 1, 0)
    below = np.floor(position).astype(np.int64)
    above = np.ceil(position).astype(np.int64)
    low, high = (np.take_along_axis(ordered, rank[np.newaxis], 0)[0] for rank in (below, above))
    return np.nan_to_num(float32(low + (position - below) * (high - low)))


def results_line(alpha: float, c_star: float, kl: Floats) -> str:
    """Return a dose's line of results.csv, with p95, mean and maximum of its finite KL."""
    finite = kl[np.isfinite(kl)]
    summaries = [np.nan] * 3
    if finite.size:
        summaries = [np.quantile(finite, 0.95), finite.mean(), finite.max()]
    numbers = float32(summaries).tolist()
    return ",".join(map(repr, [alpha, alpha * c_star, *numbers]))


DOSE = ("coeff", "kl_mean", "kl_p95", "kl_max")
"""Columns of results.csv that are read; variables have the same names."""


def generated(recorded: IntArray, kl: FloatArray, prompts: Sequence[int]) -> IntArray:
    """Return tokens generated: as recorded, else up to the last finite KL; -1 without rollout."""
    # `prompts` is the number of rollouts at each alpha.
    n_alpha, n_prompt, n_token = kl.shape
    out = np.full((n_alpha, max(n_prompt, recorded.shape[1])), -1, dtype=np.int32)
    last = np.max(np.isfinite(kl) * np.arange(1, n_token + 1), axis=2, initial=0)
    ran = np.arange(n_prompt) < np.array(prompts, dtype=np.int32)[:, np.newaxis]
    out[:, :n_prompt] = np.where(ran, last, -1)
    known = out[:, : recorded.shape[1]]
    np.copyto(known, recorded, where=recorded >= 0)
    return out


def doses(
    alpha: FloatArray, c_star: float, kl: FloatArray, recorded: Sequence[Mapping[str, float]]
) -> dict[str, FloatArray]:
    """Return summaries per alpha: as recorded in results.csv, else computed from KL."""
    out = {name: np.full(alpha.size, np.nan) for name in DOSE}
    with np.errstate(over="ignore"):
        out["coeff"] = alpha * c_star
    for i, row in enumerate(recorded):
        if not row.keys() >= {"kl_mean", "kl_p95", "kl_max"}:
            values = kl[i][np.isfinite(kl[i])].astype(np.float64)
            if values.size:
                out["kl_mean"][i] = values.mean()
                out["kl_p95"][i] = np.percentile(values, 95)
                out["kl_max"][i] = values.max()
        for name, value in row.items():
            out[name][i] = value
    return out
