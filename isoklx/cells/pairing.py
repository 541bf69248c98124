"""Which row of KL and which of pmass are of the same prompt, where a run left some out."""

from __future__ import annotations

import numpy as np

from isoklx.cells.measurements import FloatArray, IntArray, refuse_padding


def on_prompts(kl: FloatArray, lengths: IntArray) -> FloatArray:
    """Put a dose's rows of KL (row, token) where their prompts are.

    A rollout that generated nothing has no row in some runs. If as many of the recorded lengths are
    0 as rows are missing, the rows belong to the others.

    Examples
    --------
    >>> on_prompts(np.array([[0.5], [0.25]]), np.array([1, 0, 1]))
    array([[0.5 ],
           [ nan],
           [0.25]])
    """
    if not 0 < len(kl) < lengths.size or np.count_nonzero(lengths) != len(kl):
        return kl
    some = lengths != 0
    refuse_padding((some.size, *kl.shape[1:]), kl.size, "kl")
    out = np.full((some.size, *kl.shape[1:]), np.nan, dtype=kl.dtype)
    out[some] = kl
    return out


def unpaired(n_kl: int, n_pmass: int) -> bool:
    """Whether a dose has as many rows of both as leaves open which belong together."""
    return n_kl != n_pmass and min(n_kl, n_pmass) > 0
