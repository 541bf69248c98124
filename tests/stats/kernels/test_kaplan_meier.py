import warnings
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from lifelines import KaplanMeierFitter
from lifelines.utils import restricted_mean_survival_time
from scipy.stats import CensoredData
from scipy.stats import logrank as scipy_logrank

from isoklx.stats.kernels import kaplan_meier as km
from isoklx.stats.kernels.kaplan_meier import curves

TIMES = np.array([0, 1, 2, 3, 5, 8, 13, 21, 34])


def simulated(seed):
    """Random event times, as indices of TIMES, and deaths."""
    rng = np.random.default_rng(seed)
    n = rng.integers(1, 40)
    spread = rng.integers(1, TIMES.size + 1)
    ended = rng.integers(TIMES.size - spread, TIMES.size, n)
    return ended, rng.random(n) < rng.choice([0, 0.1, 0.5, 1])


def counts(ended, died):
    return tuple(np.bincount(which, minlength=TIMES.size) for which in (ended, ended[died]))


def greenwood(ended, died):
    return curves(ended, died, ended, interval="greenwood", level=0.95)


def lifelines_fit(ended, died):
    return lifelines_fit_of(TIMES[ended], died)


def lifelines_fit_of(durations, died):
    with warnings.catch_warnings():
        # The interval of lifelines divides by log S = 0 before the first death.
        warnings.simplefilter("ignore", RuntimeWarning)
        return KaplanMeierFitter().fit(durations, died)


SEEDS = range(200)
SETS = [simulated(seed) for seed in SEEDS] + [
    (np.array([4]), np.array([True])),
    (np.array([4]), np.array([False])),
    (np.full(9, 3), np.ones(9, dtype=bool)),
    (np.full(9, 0), np.ones(9, dtype=bool)),
    (np.full(9, 8), np.zeros(9, dtype=bool)),
]


def test_survival_and_interval_equal_lifelines():
    for ended, died in SETS:
        at_risk, survival, interval = greenwood(*counts(ended, died))
        fit = lifelines_fit(ended, died)
        # lifelines repeats the last value after the last observation.
        expected = fit.survival_function_at_times(TIMES).to_numpy()
        expected[(TIMES[ended].max() < TIMES) & (expected > 0)] = np.nan
        np.testing.assert_allclose(survival, expected, rtol=0, atol=1e-9)
        table = fit.event_table.reindex(TIMES, fill_value=0)
        seen = table["removed"] > 0
        np.testing.assert_array_equal(at_risk[seen], table["at_risk"][seen])
        bounds = fit.confidence_interval_.reindex(TIMES, method="ffill").to_numpy()
        inside = (survival > 0) & (survival < 1)
        np.testing.assert_allclose(interval[inside], bounds[inside], rtol=0, atol=1e-9)


def test_greenwood_has_zero_width_before_the_first_and_after_the_last_death():
    for ended, died in SETS:
        _, survival, interval = greenwood(*counts(ended, died))
        for certain in (0, 1):
            assert (interval[survival == certain] == certain).all()
        inside = (survival > 0) & (survival < 1)
        assert (interval[inside, 0] < survival[inside]).all()
        assert (survival[inside] < interval[inside, 1]).all()
        assert np.isnan(interval[np.isnan(survival)]).all()


@pytest.mark.slow
def test_restricted_mean_equals_lifelines():
    for (ended, died), horizon in zip(SETS, [34, 40, 10, 3, 0] * len(SETS), strict=False):
        survival = km.carry_forward(greenwood(*counts(ended, died))[1])
        expected = restricted_mean_survival_time(lifelines_fit(ended, died), t=horizon)
        assert km.restricted_mean(survival, TIMES, horizon) == pytest.approx(expected, abs=1e-9)


@pytest.mark.slow
def test_earliest_deaths_are_at_the_previous_time():
    earlier = np.append(0, TIMES[:-1])
    for (ended, died), horizon in zip(SETS, [34, 40] * len(SETS), strict=False):
        both, deaths = counts(ended, died)
        survival = km.carry_forward(km.earliest_survival(km.at_risk(both), deaths))
        # Censored trajectories were observed alive at their time.
        fit = lifelines_fit_of(np.where(died, earlier[ended], TIMES[ended]), died)
        expected = restricted_mean_survival_time(fit, t=horizon)
        found = km.earliest_restricted_mean(survival, TIMES, horizon)
        assert found == pytest.approx(expected, abs=1e-9)
        if died.all():
            assert found <= km.restricted_mean(
                km.kaplan_meier(km.at_risk(both), deaths), TIMES, horizon
            )


def plain_curve(died, lost):
    """Survival by a loop over exact fractions; None if unknown."""
    remaining, survival, found = int(died.sum() + lost.sum()), Fraction(1), []
    for dead, gone in zip(died.tolist(), lost.tolist(), strict=True):
        if remaining:
            survival *= Fraction(remaining - dead, remaining)
        found.append(survival if remaining or not survival else None)
        remaining -= dead + gone
    return found


def test_logrank_equals_scipy():
    decided = 0
    for one, other in pairwise(SETS):
        ended, died = (np.stack(each) for each in zip(counts(*one), counts(*other), strict=True))
        statistic, p_value = km.logrank(km.at_risk(ended), died)
        samples = [
            CensoredData(uncensored=TIMES[ended[died]], right=TIMES[ended[~died]])
            for ended, died in (one, other)
        ]
        with np.errstate(divide="ignore", invalid="ignore"):
            expected = scipy_logrank(*samples) if died.sum() else None
        if np.isnan(statistic):
            assert expected is None or not np.isfinite(expected.statistic)
            assert np.isnan(p_value)
        else:
            decided += 1
            assert statistic == pytest.approx(expected.statistic, abs=1e-9)
            assert p_value == pytest.approx(expected.pvalue, abs=1e-9)
    assert decided > 100


deaths_and_losses = hnp.arrays(int, (2, TIMES.size), elements=st.integers(0, 5))


@given(deaths_and_losses)
def test_survival_decreases_from_one(numbers):
    died, lost = numbers
    at_risk, survival, _ = greenwood(died + lost, died)
    known = ~np.isnan(survival)
    assert (np.diff(survival[known]) <= 0).all()
    assert (survival[(np.cumsum(died) == 0) & (at_risk > 0)] == 1).all()


@pytest.mark.parametrize("interval", ["auto", "beta", "greenwood"])
@given(numbers=deaths_and_losses)
def test_a_curve_is_known_with_a_risk_set_and_after_the_last_death(numbers, interval):
    died, lost = numbers
    ended = died + lost
    at_risk, survival, bounds = curves(ended, died, ended, interval=interval, level=0.95)
    expected = plain_curve(died, lost)
    np.testing.assert_allclose(
        survival, [np.nan if each is None else float(each) for each in expected], atol=1e-12
    )
    unknown = np.isnan(survival)
    np.testing.assert_array_equal(np.isnan(bounds), np.stack([unknown] * 2, axis=-1))
    assert not unknown[at_risk > 0].any()


def test_a_curve_is_undefined_after_a_censored_last_observation():
    """The last observation is censored, as in R's summary(survfit(...), times = ...)."""
    survival = km.kaplan_meier(np.array([4, 3, 1, 0]), np.array([1, 1, 0, 0]))
    np.testing.assert_allclose(survival, [3 / 4, 1 / 2, 1 / 2, np.nan])
    to_zero = km.kaplan_meier(np.array([4, 3, 1, 0]), np.array([1, 1, 1, 0]))
    np.testing.assert_allclose(to_zero, [3 / 4, 1 / 2, 0, 0])


def test_carry_forward_fills_only_after_a_number():
    found = km.carry_forward(np.array([[np.nan, 0.5, np.nan, np.nan], [1, np.nan, 0, np.nan]]))
    np.testing.assert_array_equal(found, [[np.nan, 0.5, 0.5, 0.5], [1, 1, 0, 0]])


@pytest.mark.parametrize(
    ("died", "lost", "complete", "last_probe", "expected"),
    [
        ([0, 0, 0], [0, 0, 4], 48, 48, 48),
        ([0, 0, 0], [4, 0, 0], 0, 48, 0),
        ([0, 1, 0], [2, 1, 0], 0, 48, 16),
        ([0, 4, 0], [0, 0, 0], 0, 48, 48),
        ([0, 1, 0], [2, 1, 0], 0, 16, 48),
        ([0, 1, 0], [2, 1, 0], 48, 48, 48),
        ([0, 1, 0], [2, 1, 0], 16, 48, 16),
        ([0, 0, 0], [0, 0, 0], 0, 48, 0),
    ],
)
def test_a_curve_is_known_to_the_horizon_or_to_its_last_trajectory_at_risk(
    died, lost, complete, last_probe, expected
):
    died = np.array(died)
    at_risk = km.at_risk(died + np.array(lost))
    survival = km.kaplan_meier(at_risk, died)
    found = km.observed_to(
        survival,
        at_risk,
        np.array(complete),
        np.array(last_probe),
        np.array(48),
        times=np.array([0, 16, 48]),
    )
    assert found == expected


@given(deaths_and_losses)
def test_survival_is_the_plain_fraction_without_censoring(numbers):
    died = numbers[0]
    alive_to_the_end = np.zeros_like(died)
    alive_to_the_end[-1] = 1 + numbers[1, -1]
    ended = died + alive_to_the_end
    _, survival, _ = greenwood(ended, died)
    np.testing.assert_allclose(survival, 1 - np.cumsum(died) / ended.sum(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("survival", "bracket"),
    [
        ([1, 0.7, 0.4], (8, 64)),
        ([1, 0.5, 0.4], (0, 8)),
        ([1, 0.5 + 5e-10, 0.4], (0, 8)),
        ([1, 0.5 + 5e-9, 0.4], (8, 64)),
        ([1, 1, 0.6], (64, np.nan)),
        ([0.4, 0.4, 0], (np.nan, 0)),
        ([np.nan] * 3, (np.nan, np.nan)),
    ],
)
def test_half_life_is_a_bracket(survival, bracket):
    found = km.half_life(np.array(survival), np.ones(3), np.array([0, 8, 64]))
    np.testing.assert_array_equal(found, bracket)


def test_half_life_is_open_after_the_last_risk_set():
    found = km.half_life(np.array([1.0, 0.8, 0.8]), np.array([5, 4, 0]), np.array([0, 8, 64]))
    np.testing.assert_array_equal(found, [8, np.nan])
