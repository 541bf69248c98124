"""Arrays as a model would produce them, and cells written from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from isoklx.cells.writing import write_cell

WINDOW = 12
FORKS = [0, 1, 4, 12]
ALPHAS = [0.0, 0.5, 1.0, 2.0]
CALIB = {
    "c_star": 2.0721502863934007,
    "target_kl": 1.0,
    "window": WINDOW,
    "method": "mean_diff",
    "model": "org/toy-1B",
    "seed": 0,
    "layer": 14,
    "target_stat": "p95",
    "measured_with": {"torch": "2.13.0", "dtype": "float32", "true_ids": [3, 4]},
}
KL = {"kl_mean": 0.2, "kl_p50": 0.1, "kl_p90": 0.5, "kl_p95": 0.9, "kl_max": 3.0, "n_pos": 24}
HISTORY = [
    {"coeff": c, "coeff_abs": c, "sign": 1.0, **KL, "per_t_mean": [0.1], "per_t_p95": [0.2]}
    for c in (0.4, 2.0721502863934007)
]


def arrays(alphas: list[float], prompts: int = 3, questions: int = 2) -> dict[str, Any]:
    """Return a run's arrays at some doses; those of a dose do not depend on the other doses."""
    each = [_dose(alpha, prompts, questions) for alpha in alphas]
    stacked = {name: np.stack([dose[name] for dose in each]) for name in each[0]}
    return {
        "alphas": alphas,
        "forks": FORKS,
        **stacked,
        "answers": {
            "argmax_str": np.where(stacked["p_true"] > 0.5, " true", " false"),
            "answer_label": np.broadcast_to([True, False], (len(FORKS), 2)).T[np.newaxis]
            | np.zeros((len(alphas), 1, 1), dtype=bool),
        },
        "questions": ["Is water wet?", "Is 2 + 2 = 5?"][:questions],
        "prefill": '\n{"choice":',
        "schema": "Answer true or false.",
        "generations": [
            {
                "kind": "eval",
                "alpha": alpha,
                "prompt_idx": i,
                "prompt": f"Prompt {i}?\u2028",
                "token_ids": np.arange(dose["gen_len"][i]),
                "gen_text": "ü" * i,
                "gen_len": dose["gen_len"][i],
            }
            for alpha, dose in zip(alphas, each, strict=True)
            for i in range(prompts)
        ],
    }


def _dose(alpha: float, prompts: int, questions: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng([7, int(alpha * 1000)])
    token, fork = np.arange(WINDOW), np.array(FORKS)
    gen_len = rng.integers(0, WINDOW + 1, prompts)
    gen_len[0] = 0
    gen_len[-1] = WINDOW
    gen_len_qa = rng.integers(0, WINDOW + 1, questions)
    kl = (alpha**2 * rng.lognormal(size=(prompts, WINDOW)) - 1e-7).astype(np.float32)
    kl[token >= gen_len[:, np.newaxis]] = np.nan

    def at_forks(lengths: np.ndarray) -> np.ndarray:
        values = rng.uniform(size=(len(lengths), len(FORKS))).astype(np.float32)
        return np.where(fork > lengths[:, np.newaxis], np.float32("nan"), values)

    return {
        "kl": kl,
        "gen_len": gen_len,
        "pmass_eval": at_forks(gen_len),
        "pmass": at_forks(gen_len_qa),
        "p_true": at_forks(gen_len_qa),
        "gen_len_qa": gen_len_qa,
        "repetition": rng.uniform(size=prompts).astype(np.float32),
    }


def written(folder: Path, batches: list[list[float]] | None = None) -> Path:
    """Write a cell in batches of doses, by default in one batch."""
    for batch in batches or [ALPHAS]:
        write_cell(folder, CALIB, history=HISTORY, **arrays(batch))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file of a cell except hidden files."""
    return {p.name: p.read_bytes() for p in folder.iterdir() if not p.name.startswith(".")}
