"""What a cell's files say of KL besides KL itself, in the precision in which it was measured."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

RESULTS_HEADER = "alpha,coeff,kl_p95,kl_mean,kl_max"


def float32(values: npt.ArrayLike) -> Floats:
    """Round to what float32 holds, in float64, whose text is the one of a measured value."""
    return np.asarray(values, dtype=np.float32).astype(np.float64)


def p95_over_prompts(kl: Floats) -> Floats:
    """Linear quantile over the first axis, NaN skipped; 0.0 where all is NaN, as recorded."""
    ordered = np.sort(kl, axis=0)
    position = 0.95 * np.maximum(np.isfinite(kl).sum(axis=0) - 1, 0)
    below = np.floor(position).astype(np.int64)
    above = np.ceil(position).astype(np.int64)
    low, high = (np.take_along_axis(ordered, rank[np.newaxis], 0)[0] for rank in (below, above))
    return np.nan_to_num(float32(low + (position - below) * (high - low)))


def results_line(alpha: float, c_star: float, kl: Floats) -> str:
    """The line of results.csv of a dose: p95, mean and largest of its finite KL."""
    finite = kl[np.isfinite(kl)]
    summaries = [np.nan] * 3
    if finite.size:
        summaries = [np.quantile(finite, 0.95), finite.mean(), finite.max()]
    numbers = float32(summaries).tolist()
    return ",".join(map(repr, [alpha, alpha * c_star, *numbers]))
