"""Estimated start of a calibration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra run")
pytest.importorskip("transformers", reason="needs the extra run")

from isoklx.engine.activations import extract, residual_norms
from isoklx.engine.calibration_start import TRIED, calibration_start
from isoklx.engine.rollouts import roll_out
from isoklx.engine.steering import Steering
from isoklx.engine.tokenised import Tokenised
from tests.engine.prepared_cells import parts, tiny

LAYER = 2


def steering_of(folder: Path, method: str = "mean_diff") -> tuple[Steering, Tokenised]:
    _, inputs, tokenised = parts(folder)
    loaded = tiny()
    assert inputs.pairs is not None
    steering = extract(loaded.model, loaded.tokenizer, inputs.pairs.rows, [LAYER], method)
    return steering, tokenised


def start(steering: Steering, tokenised: Tokenised, **options: Any) -> float:
    given = {"window": 8, "target_kl": 1.0, "statistic": "p95", **options}
    return calibration_start(tiny(), steering, tokenised, **given)


@pytest.mark.parametrize("method", ["mean_diff", "directional_ablation"])
@pytest.mark.parametrize("statistic", ["p95", "mean"])
def test_kl_at_the_start_is_near_the_target(tmp_path: Path, method: str, statistic: str) -> None:
    steering, tokenised = steering_of(tmp_path, method)
    guess = start(steering, tokenised, statistic=statistic)
    kl = roll_out(
        tiny().model,
        steering,
        tokenised.calib_prompts,
        [guess] * len(tokenised.calib_prompts),
        window=8,
        forks=(),
        tails=[tokenised.tail],
        answers=tokenised.answers,
        eos_ids=tokenised.eos_ids,
    ).kl
    found = np.nanquantile(kl, 0.95) if statistic == "p95" else np.nanmean(kl)
    assert 0.5 < found < 2


def test_a_longer_vector_needs_a_smaller_coefficient(tmp_path: Path) -> None:
    steering, tokenised = steering_of(tmp_path)
    longer = Steering("add", {LAYER: 1000 * steering.vectors[LAYER]}, "longer")
    assert 1000 * start(longer, tokenised) == pytest.approx(start(steering, tokenised), rel=1e-3)


@pytest.mark.parametrize("target", [1e-9, 1e3])
def test_a_target_out_of_range_starts_at_the_norm_of_the_states(
    tmp_path: Path, target: float
) -> None:
    steering, tokenised = steering_of(tmp_path)
    size = residual_norms(tiny().model, tokenised.calib_prompts, [LAYER])[LAYER]
    size /= float(np.linalg.norm(steering.vectors[LAYER]))
    found = start(steering, tokenised, target_kl=target)
    assert found == pytest.approx(size)
    assert size * TRIED[0] < start(steering, tokenised) < size * TRIED[-1]
