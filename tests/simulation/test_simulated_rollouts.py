"""Simulated rollouts have the statistics stated in the docstring of `isoklx.simulate`."""

from __future__ import annotations

import numpy as np
import pytest

from isoklx.simulation.rollouts import Draws, Rollouts, calibrate, p95_over_prompts

WINDOW = 512
FORKS = [0, 1, 2, 3, 5, 8, 13, 23, 38, 64, 108, 181, 304, 512]
DRAWS = Draws(("a", "b"), 0, WINDOW)


def rollouts(dose: float, **options: float) -> Rollouts:
    settings = {"count": 400, "target_kl": 1.0, "ends_early": 0.2, **options}
    return Rollouts(DRAWS, "prompt", dose, dose * DRAWS.unit, window=WINDOW, **settings)


def pmass(drawn: Rollouts) -> np.ndarray:
    return np.array(drawn.at_forks(FORKS)["pmass"])


@pytest.mark.parametrize("target", [0.3, 1.0, 3.0])
def test_p95_at_a_dose_of_one_is_near_the_target(target):
    p95 = np.nanquantile(rollouts(1.0, target_kl=target).kl(), 0.95)
    assert p95 == pytest.approx(target / (1 + target / 20), rel=0.1)


def test_kl_grows_with_the_dose():
    p95 = [np.nanquantile(rollouts(dose).kl(), 0.95) for dose in (0.25, 0.5, 1.0, 2.0)]
    assert np.all(np.diff(np.log(p95)) > 0.9)


def test_dose_zero_has_zero_kl_and_high_pmass():
    drawn = rollouts(0.0)
    kl = drawn.kl()
    assert np.all(kl[np.isfinite(kl)] == 0)
    assert np.nanmin(pmass(drawn)) > 0.95


def test_rounding_makes_some_small_kl_negative():
    kl = rollouts(0.25).kl()
    assert -1e-6 < np.nanmin(kl) < -1e-8
    assert 0.01 < np.mean(kl < 0) < 0.1


def test_neighbouring_tokens_are_correlated():
    log_kl = np.log(rollouts(1.0, ends_early=0.0).kl().clip(1e-5))
    before, after = log_kl[:, :-1], log_kl[:, 1:]
    free = (before > np.log(1e-4)) & (after > np.log(1e-4))
    correlation = np.corrcoef(before[free], after[free])[0, 1]
    # Variance 1.2**2 is AR(1) with correlation 0.5; 0.3**2 is the prompt's, with correlation 1.
    assert correlation == pytest.approx((0.5 * 1.44 + 0.09) / 1.53, abs=0.05)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.7])
def test_the_requested_share_of_rollouts_ends_early(share):
    ended = rollouts(0.0, ends_early=share).gen_len < WINDOW
    assert ended.mean() == pytest.approx(share, abs=0.06)


def test_kl_is_finite_up_to_gen_len():
    drawn = rollouts(1.0)
    np.testing.assert_array_equal(np.isfinite(drawn.kl()).sum(axis=1), drawn.gen_len)
    assert drawn.gen_len.min() >= 1


def test_low_doses_survive_and_high_doses_die():
    died = {dose: np.mean((pmass(rollouts(dose)) < 0.5).any(axis=1)) for dose in (0.5, 1, 2, 4)}
    assert died[0.5] == 0
    assert died[1] < 0.02
    assert 0.1 < died[2] < 0.5
    assert died[4] > 0.99


def test_some_of_the_dead_recover():
    dead = pmass(rollouts(2.0)) < 0.5
    recovered = (dead[:, :-1] & ~dead[:, 1:]).any(axis=1)
    assert 0.05 < recovered[dead.any(axis=1)].mean() < 0.5


def test_a_collapsed_rollout_does_not_end():
    drawn = rollouts(4.0, ends_early=0.7)
    assert np.mean(drawn.gen_len == WINDOW) > 0.9


@pytest.mark.parametrize("target", [1e-6, 0.01, 1.0, 19.0])
def test_the_calibration_ends_at_the_target(target):
    history = calibrate(DRAWS, WINDOW, target)
    assert history[-1]["kl_p95"] == pytest.approx(target, rel=0.02)
    kl = np.array(sorted((trial["coeff"], trial["kl_p95"]) for trial in history))
    assert np.all(np.diff(kl[:, 1]) > 0)


def test_p95_over_prompts_skips_ended_rollouts():
    kl = rollouts(1.0, ends_early=0.7, count=7).kl()
    expected = np.nan_to_num([np.nanquantile(c, 0.95) if np.isfinite(c).any() else 0 for c in kl.T])
    np.testing.assert_allclose(p95_over_prompts(kl), expected, rtol=1e-6)
    assert p95_over_prompts(np.full((2, 1), np.nan)) == 0
