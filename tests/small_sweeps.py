"""Sweeps of a few numbers, in memory, that a test can state in full."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from isoklx import schema


def small_sweep(
    pmass_eval: Any,
    *,
    fork: Any,
    gen_len: Any = None,
    kl: Any = None,
    dtype: str = "float32",
    **labels: Any,
) -> xr.Dataset:
    """Every variable that survival reads, from pmass (cell, alpha, prompt, fork).

    Without `gen_len` every rollout is as long as its window, by default the last fork.
    """
    pmass_eval = np.asarray(pmass_eval, dtype=dtype)
    n_cell, n_alpha, n_prompt, _ = pmass_eval.shape
    kl = np.zeros((n_cell, n_alpha, n_prompt, 0)) if kl is None else kl
    cells = {
        "run_id": [f"cell{i}" for i in range(n_cell)],
        "model": "org/tiny",
        "model_short": "tiny",
        "method": "pca",
        "seed": range(n_cell),
        "layer": 3,
        "window": max(fork),
        **labels,
    }
    coords = {
        name: ("cell", list(value) if np.ndim(value) else [value] * n_cell)
        for name, value in cells.items()
    }
    window = np.array(coords["window"][1])[:, np.newaxis, np.newaxis]
    gen_len = np.broadcast_to(window, pmass_eval.shape[:3]) if gen_len is None else gen_len
    skipped = np.zeros((n_cell, n_alpha, 0, len(fork)), dtype=dtype)
    arrays = {
        "kl": np.asarray(kl, dtype=dtype),
        "pmass_eval": pmass_eval,
        "pmass": skipped,
        "gen_len": np.asarray(gen_len, dtype=float),
        "gen_len_qa": skipped[..., 0],
        "has_kl": np.full(n_cell, int(np.size(kl) > 0)),
        "has_pmass": np.ones(n_cell, dtype=int),
    }
    data = {name: (schema.DATA[name].dims, values) for name, values in arrays.items()}
    ds = xr.Dataset(data, {**coords, "alpha": np.arange(n_alpha, dtype=float), "fork": fork})
    for dim in ("prompt", "token"):
        ds = ds.assign_coords({dim: np.arange(ds.sizes[dim])})
    return ds.set_xindex("run_id")
