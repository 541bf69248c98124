"""What is computed from KL where a run has not recorded it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from isoklx.cells.measurements import FloatArray, IntArray

DOSE = ("coeff", "kl_mean", "kl_p95", "kl_max")
"""The columns of results.csv that are read, and the variables that hold them."""


def generated(recorded: IntArray, kl: FloatArray, prompts: Sequence[int]) -> IntArray:
    """Tokens generated (alpha, prompt): as recorded, else up to the last finite KL.

    `prompts` counts the rollouts at each alpha; beyond them nothing was run.
    """
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
    """Per-alpha summaries: as recorded in results.csv, else computed from kl."""
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
