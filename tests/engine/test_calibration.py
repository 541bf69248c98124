import json
import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoklx.engine.calibration import calibrate, statistic_of
from isoklx.errors import UsageError
from tests.conftest import PROJECT
from tests.engine.responses import Response

MEASURED = PROJECT / "data" / "measured"
KEYS = [
    *("coeff", "coeff_abs", "sign", "kl_mean", "kl_p50", "kl_p90", "kl_p95", "kl_max", "n_pos"),
    *("per_t_mean", "per_t_p95", "per_t_max"),
]


def constant_over_tokens(kl_of_coeff):
    """Return a measure whose every statistic is `kl_of_coeff`, and its list of calls."""
    asked = []

    def measure(coeff):
        asked.append(coeff)
        return np.full((2, 3), kl_of_coeff(coeff), dtype=np.float64)

    return measure, asked


def value(found, name="kl_p95"):
    """Return the statistic in the history at c_star."""
    return next(entry[name] for entry in found.history if entry["coeff"] == found.c_star)


# Speed


@pytest.mark.slow
def test_of_1000_simulated_responses_95_percent_take_at_most_6_evaluations():
    counts, misses = [], []
    for seed in range(1000):
        response = Response(seed)
        found = calibrate(response, start=1.0)
        assert found.converged, found.reason
        assert len(found.history) == response.calls
        counts.append(response.calls)
        misses.append(abs(math.log(found.c_star / response.c_star)))
    assert np.mean(np.array(counts) <= 6) >= 0.95
    assert np.quantile(misses, 0.95) < 0.05  # the tolerance, at a slope of more than 1


@pytest.mark.parametrize(
    ("method", "evaluations"), [("mean_diff", 3), ("pca", 4), ("directional_ablation", 5)]
)
def test_the_cells_of_the_tiny_model_took_at_most_5_evaluations(method, evaluations):
    cell = MEASURED / f"tiny_{method}_s0_w48"
    calib, history = (
        json.loads((cell / name).read_text()) for name in ("calib.json", "history.json")
    )
    assert len(history) == evaluations <= 5
    off = [abs(step["kl_p95"] / calib["target_kl"] - 1) for step in history]
    # The search stopped at the first statistic within the tolerance.
    assert [miss <= 0.05 for miss in off] == [False] * (evaluations - 1) + [True]
    assert history[-1]["coeff"] == calib["c_star"]


@pytest.mark.slow
def test_four_together_take_at_most_3_rounds():
    converged = [
        calibrate(Response(seed).together, start=1.0, batch=4, max_evaluations=12).converged
        for seed in range(1000)
    ]
    assert np.mean(converged) >= 0.95


@pytest.mark.parametrize("statistic", ["p95", "rms", "mean"])
@pytest.mark.parametrize("target", [0.1, 3.0])
def test_other_statistics_and_targets_cost_about_the_same(statistic, target):
    responses = [Response(seed, target=target, statistic=statistic) for seed in range(100)]
    for response in responses:
        found = calibrate(response, target, statistic=statistic, start=1.0)
        assert found.converged
        assert value(found, f"kl_{statistic}") == pytest.approx(target, rel=0.05)
    assert np.mean([response.calls <= 7 for response in responses]) >= 0.95


def test_a_start_that_is_right_takes_one_evaluation():
    measure, asked = constant_over_tokens(lambda c: (c / 3) ** 2)
    found = calibrate(measure, start=3.02)
    assert found.c_star == 3.02
    assert asked == [3.02]


def test_without_a_start_the_middle_of_the_bracket_is_tried_first():
    measure, asked = constant_over_tokens(lambda c: (c / 3) ** 2)
    assert calibrate(measure, bracket=(1, 16)).converged
    assert asked[0] == 4


def test_published_coefficients_are_reproduced_in_as_many_steps():
    # OLMo-2-1B, window 4096: p95 at the coefficients that were tried, joined in log-log.
    tried, p95 = [3.2, 6.4, 7.3412, 8.51, 12.8], [0.1, 0.412, 0.99, 2.602, 3.564]
    measure, asked = constant_over_tokens(
        lambda c: math.exp(np.interp(math.log(c), np.log(tried), np.log(p95)))
    )
    found = calibrate(measure, start=6.4)
    assert found.c_star == pytest.approx(7.34, rel=0.01)
    assert len(asked) <= 5


# Sides


@pytest.mark.parametrize(
    "arguments",
    [{"start": -1.0}, {"bracket": (-1e5, -1e-3)}, {"bracket": (-1e-3, -1e5), "start": -1.0}],
)
def test_a_negative_start_or_bracket_calibrates_the_negative_side(arguments):
    measure, asked = constant_over_tokens(lambda c: (c / (2 if c > 0 else 5)) ** 2)
    found = calibrate(measure, **arguments)
    assert found.c_star == pytest.approx(-5, rel=0.05)
    assert max(asked) < 0
    assert found.history[-1]["sign"] == -1.0
    assert found.history[-1]["coeff_abs"] == -found.c_star


def test_symmetric_responses_take_the_same_steps_on_both_sides():
    plus = calibrate(Response(4), start=1.0)
    minus = calibrate(Response(4), start=-1.0)
    assert [e["coeff"] for e in plus.history] == [-e["coeff"] for e in minus.history]


# Difficult responses


@pytest.mark.parametrize("seed", range(20))
def test_a_jump_over_the_target_is_never_a_result(seed):
    rng = np.random.default_rng(seed)
    c_star, below, above = math.exp(rng.uniform(-3, 3)), rng.uniform(0.2, 0.9), rng.uniform(1.2, 9)
    measure, asked = constant_over_tokens(
        lambda c: below * (c / c_star) ** 2 if c < c_star else above
    )
    found = calibrate(measure, start=1.0, max_evaluations=40)
    assert not found.converged
    assert "it jumps there, or is noisier than the tolerance" in found.reason
    assert found.c_star in asked
    assert found.c_star == pytest.approx(c_star, rel=2e-3)
    assert len(asked) <= 20


@pytest.mark.parametrize("seed", range(20))
def test_saturation_below_the_target_does_not_converge(seed):
    rng = np.random.default_rng(seed)
    cap, scale = rng.uniform(0.1, 0.9), math.exp(rng.uniform(-3, 3))
    measure, asked = constant_over_tokens(lambda c: cap * math.tanh((c / scale) ** 2))
    found = calibrate(measure, start=1.0, bracket=(0.01, 100))
    assert not found.converged
    assert found.reason.startswith(f"p95 of KL stays below 1: {cap:.3g} at coefficient")
    assert max(asked) > 100  # the bracket was widened
    assert len(asked) == 12


def test_kl_above_the_target_everywhere_does_not_converge():
    measure, asked = constant_over_tokens(lambda c: 5 + c / 1e6)
    found = calibrate(measure, start=1.0)
    assert not found.converged
    assert found.reason.startswith("p95 of KL stays above 1: 5 at coefficient")
    assert min(asked) < 1e-3


def test_a_vector_without_effect_ends_the_search():
    measure, asked = constant_over_tokens(lambda c: 0.0)
    found = calibrate(measure, max_evaluations=1000)
    assert not found.converged
    assert found.reason.startswith("p95 of KL stays below 1")
    assert len(asked) < 30
    assert max(asked) < 1e33


@pytest.mark.parametrize("c_star", [1e-7, 1e-4, 3e6, 1e9])
def test_a_bracket_that_misses_the_target_is_widened(c_star):
    measure, _ = constant_over_tokens(lambda c: min((c / c_star) ** 2, 9))
    found = calibrate(measure)
    assert found.c_star == pytest.approx(c_star, rel=0.03)
    found = calibrate(measure, bracket=(c_star * 2, c_star * 3))
    assert found.c_star == pytest.approx(c_star, rel=0.03)


def test_an_end_of_the_bracket_is_tried_before_it_is_moved():
    measure, asked = constant_over_tokens(lambda c: (c / 9) ** 2)
    assert calibrate(measure, start=1.0, bracket=(0.5, 8.0)).converged
    assert 8.0 in asked


@pytest.mark.parametrize("seed", range(30))
def test_noise_as_large_as_the_tolerance_costs_evaluations_but_not_the_result(seed):
    rng = np.random.default_rng(seed)
    c_star = math.exp(rng.uniform(-4, 4))
    measure, _ = constant_over_tokens(
        lambda c: (c / c_star) ** 2 * math.exp(0.05 * rng.standard_normal())
    )
    found = calibrate(measure, start=1.0)
    assert found.converged
    assert found.c_star == pytest.approx(c_star, rel=0.12)


@pytest.mark.parametrize("seed", range(30))
def test_where_the_target_is_crossed_several_times_a_crossing_is_found(seed):
    rng = np.random.default_rng(seed)
    c_star, depth = math.exp(rng.uniform(-4, 4)), rng.uniform(0.3, 0.9)
    wave = rng.uniform(2, 5)

    def kl(c):
        x = math.log(c / c_star)
        return math.exp(2 * x + depth * math.sin(wave * 2 * x)) / 1.01

    found = calibrate(constant_over_tokens(kl)[0], start=1.0, max_evaluations=20)
    assert found.converged
    assert value(found) == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize("seed", range(20))
def test_nan_from_a_broken_model_moves_the_search_down(seed):
    rng = np.random.default_rng(seed)
    c_star = math.exp(rng.uniform(-4, 4))
    broken = c_star * rng.uniform(1.02, 3)
    measure, _ = constant_over_tokens(lambda c: (c / c_star) ** 2 if c < broken else math.nan)
    found = calibrate(measure, start=1.0, max_evaluations=20)
    assert found.converged
    assert found.c_star == pytest.approx(c_star, rel=0.03)


def test_no_finite_kl_anywhere_is_reported():
    found = calibrate(lambda coeff: [np.nan, np.nan])
    assert math.isnan(found.c_star)
    assert not found.converged
    assert found.reason.startswith("no finite KL at any of 12 coefficients")
    assert found.history[0]["n_pos"] == 0


def test_nan_tokens_are_left_out_and_infinite_ones_are_above_every_target():
    found = calibrate(lambda c: np.array([[c**2, np.nan], [c**2, np.nan]]), start=3.0)
    assert found.c_star == pytest.approx(1, rel=0.03)
    assert found.history[0]["n_pos"] == 2
    assert found.history[0]["per_t_max"] == [9.0, 0.0]
    found = calibrate(lambda c: np.array([c**2, np.inf if c > 1.1 else c**2]), start=3.0)
    assert found.c_star == pytest.approx(1, rel=0.03)
    assert found.history[0]["kl_p95"] == math.inf


@given(
    values=st.lists(st.floats(0, 1e30) | st.just(math.nan) | st.just(math.inf), min_size=1),
    batch=st.integers(1, 5),
    most=st.integers(1, 15),
    start=st.floats(1e-6, 1e6),
)
def test_any_result_is_a_tried_coefficient_with_its_true_statistic(values, batch, most, start):
    asked = []

    def kl(coeff):
        asked.append(coeff)
        return np.array([values[len(asked) % len(values)]])

    measure = kl if batch == 1 else lambda coefficients: [kl(c) for c in coefficients]
    found = calibrate(measure, start=start, batch=batch, max_evaluations=most)
    assert len(asked) == len(set(asked)) == len(found.history) <= most
    assert sorted(asked) == sorted(entry["coeff"] for entry in found.history)
    assert found.converged == (found.reason == "")
    assert "\n" not in found.reason
    if found.converged:
        assert abs(value(found) - 1) <= 0.05
        assert found.c_star == found.history[-1]["coeff"]
    else:
        assert math.isnan(found.c_star) or found.c_star in asked
        assert not any(abs(entry["kl_p95"] - 1) < 0.049 for entry in found.history)


# Arguments and results


def test_a_batch_is_one_call_and_the_last_one_may_be_smaller():
    rounds = []

    def measure(coefficients):
        rounds.append(coefficients)
        return np.full((len(coefficients), 2, 3), 9.0)

    found = calibrate(measure, batch=4, max_evaluations=10)
    assert [len(each) for each in rounds] == [4, 4, 2]
    assert len(found.history) == 10


def test_of_a_batch_the_result_is_the_last_entry():
    for seed in range(20):
        found = calibrate(Response(seed).together, start=1.0, batch=4, max_evaluations=24)
        assert found.history[-1]["coeff"] == found.c_star


def test_an_entry_agrees_with_numpy():
    rng = np.random.default_rng(3)
    kl = rng.lognormal(size=(5, 7))
    kl[1, 4:] = np.nan
    kl[:, 6] = np.nan
    [entry] = calibrate(lambda c: kl, max_evaluations=1, start=-2.5).history
    tokens = kl[np.isfinite(kl)]
    assert list(entry) == KEYS
    assert (entry["coeff"], entry["coeff_abs"], entry["sign"]) == (-2.5, 2.5, -1.0)
    assert entry["n_pos"] == tokens.size
    assert entry["kl_mean"] == pytest.approx(tokens.mean(), rel=1e-12)
    for q in (50, 90, 95):
        assert entry[f"kl_p{q}"] == pytest.approx(np.percentile(tokens, q), rel=1e-12)
    assert entry["kl_max"] == tokens.max()
    some = kl[:, :6]
    np.testing.assert_allclose(entry["per_t_mean"], [*np.nanmean(some, axis=0), 0], rtol=1e-12)
    np.testing.assert_allclose(
        entry["per_t_p95"], [*np.nanpercentile(some, 95, axis=0), 0], rtol=1e-12
    )
    np.testing.assert_allclose(entry["per_t_max"], [*np.nanmax(some, axis=0), 0], rtol=1e-12)


def test_an_entry_has_the_keys_of_measured_ones(real_root):
    measured = json.loads((real_root / "Qwen3.5-0.8B_pca_s0_w512" / "history.json").read_text())
    for entry in measured:
        assert list(entry) == KEYS


def test_rms_is_in_the_history_if_it_is_the_statistic():
    found = calibrate(lambda c: [3 * c, 4 * c], math.sqrt(12.5), statistic="rms", start=1.0)
    assert found.c_star == 1.0
    assert found.history[0]["kl_rms"] == pytest.approx(math.sqrt(12.5))


@pytest.mark.parametrize(("name", "expected"), [("p95", 3.85), ("rms", 2.217), ("mean", 1.75)])
def test_a_statistic_is_over_all_tokens(name, expected):
    kl = np.array([[0.0, 1.0, np.nan], [2.0, 4.0, np.nan]])
    expected = {"p95": np.percentile([0, 1, 2, 4], 95), "rms": math.sqrt(21 / 4), "mean": 7 / 4}
    assert statistic_of(kl, name) == pytest.approx(expected[name])
    assert math.isnan(statistic_of([np.nan], name))


def test_arrays_may_be_of_any_shape_and_kind():
    for kl in (1.0, [1.0], np.float32(1), np.ones((2, 3, 4), dtype=np.float16), np.ones((2, 0))):
        found = calibrate(lambda c, kl=kl: kl, max_evaluations=1)
        assert found.converged == (np.size(kl) > 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target_kl": 0}, "target_kl must be above 0, got 0"),
        ({"target_kl": math.nan}, "target_kl must be above 0, got nan"),
        ({"statistic": "p99"}, "statistic must be one of p95, rms, mean, got 'p99'"),
        ({"bracket": (-1, 1)}, "bracket must be two nonzero coefficients of one sign, got (-1, 1)"),
        ({"bracket": (0, 1)}, "bracket must be two nonzero coefficients of one sign, got (0, 1)"),
        ({"bracket": (1,)}, "bracket must be two nonzero coefficients of one sign, got (1,)"),
        ({"start": 0.0}, "start must be finite and not 0, got 0.0"),
        (
            {"start": 1.0, "bracket": (-2, -1)},
            "start and bracket must have one sign, got 1.0 and (-2, -1)",
        ),
        ({"tolerance": 0}, "tolerance must be between 0 and 1, got 0"),
        ({"max_evaluations": 0}, "max_evaluations must be at least 1, got 0"),
        ({"batch": 0}, "batch must be at least 1, got 0"),
    ],
)
def test_a_bad_argument_is_refused_before_measuring(arguments, message):
    measure, asked = constant_over_tokens(lambda c: 1.0)
    with pytest.raises(UsageError) as error:
        calibrate(measure, **arguments)
    assert str(error.value) == message
    assert not asked


def test_a_wrong_return_value_of_measure_is_refused():
    with pytest.raises(UsageError, match="measure must return an array of KL per token"):
        calibrate(lambda c: [[1.0], [1.0, 2.0]])
    with pytest.raises(UsageError, match="must return 3 arrays, one per coefficient, got 1"):
        calibrate(lambda cs: [np.ones(2)], batch=3)
    with pytest.raises(UsageError, match="one per coefficient, got float"):
        calibrate(lambda cs: 1.0, batch=3)


def test_tensors_are_accepted():
    torch = pytest.importorskip("torch")
    found = calibrate(lambda cs: torch.tensor(cs)[:, None, None] ** 2, start=1.5, batch=2)
    assert found.c_star == pytest.approx(1, rel=0.03)
    with pytest.raises(UsageError, match="measure must return an array of KL per token: Can't"):
        calibrate(lambda c: torch.tensor([c], requires_grad=True))


def test_exceptions_of_measure_propagate():
    def measure(coeff):
        raise RuntimeError("CUDA error")

    with pytest.raises(RuntimeError, match="CUDA error"):
        calibrate(measure)


def test_calibrate_is_public_and_needs_numpy_only():
    code = "import isoklx, sys; isoklx.calibrate; print({'xarray', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
