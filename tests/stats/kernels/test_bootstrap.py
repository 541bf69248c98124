import numpy as np
from lifelines import KaplanMeierFitter
from lifelines.utils import restricted_mean_survival_time

from isoklx.stats.kernels import bootstrap
from isoklx.stats.kernels.bootstrap import draw_units, replicate_survival
from isoklx.stats.kernels.kaplan_meier import tally

TIMES = np.array([0, 2, 5, 9, 16])
HORIZON = 10


def test_each_replicate_draws_as_many_units_as_there_are_evenly():
    draws = draw_units(7, 4000, seed=3)
    assert (draws.sum(axis=1) == 7).all()
    np.testing.assert_allclose(draws.mean(axis=0), 1, atol=0.1)


def test_draws_are_a_function_of_the_seed():
    np.testing.assert_array_equal(draw_units(7, 5, seed=3), draw_units(7, 5, seed=3))
    assert (draw_units(7, 5, seed=3) != draw_units(7, 5, seed=4)).any()


def sample(seed):
    """Ends and deaths of (unit, member) trajectories, members in two groups."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, TIMES.size, (6, 4)), rng.random((6, 4)) < 0.6, np.array([0, 1, 1, 0])


def tables(index, died, group):
    each = [
        tally(index[..., None], counted[..., None], group, groups=(2,), n_times=TIMES.size)
        for counted in (index >= 0, died)
    ]
    return each[0], each[1]


def test_a_replicate_is_a_sample_with_its_units_written_out():
    index, died, group = sample(0)
    draws = draw_units(6, 12, seed=1)
    end, mean = replicate_survival(draws, *tables(index, died, group), times=TIMES, horizon=HORIZON)
    for b, drawn in enumerate(draws):
        units = np.repeat(np.arange(6), drawn)
        for g in (0, 1):
            ends, deaths = (each[units][:, group == g].ravel() for each in (index, died))
            fit = KaplanMeierFitter().fit(TIMES[ends], deaths)
            assert np.isclose(end[b, g], fit.predict(HORIZON), rtol=0, atol=1e-9)
            expected = restricted_mean_survival_time(fit, t=HORIZON)
            assert np.isclose(mean[b, g], expected, rtol=0, atol=1e-9)


def test_blocks_of_replicates_change_nothing(monkeypatch):
    counts = tables(*sample(2))
    draws = draw_units(6, 11, seed=1)
    whole = replicate_survival(draws, *counts, times=TIMES, horizon=HORIZON)
    monkeypatch.setattr(bootstrap, "BLOCK", 30)
    np.testing.assert_array_equal(
        whole, replicate_survival(draws, *counts, times=TIMES, horizon=HORIZON)
    )


def test_a_replicate_without_a_trajectory_of_a_group_has_no_survival():
    index = np.array([[0, 1], [2, -1]])
    draws = np.array([[1, 1], [0, 2]])
    counts = tables(index, index == 0, np.array([0, 1]))
    end, mean = replicate_survival(draws, *counts, times=TIMES, horizon=HORIZON)
    np.testing.assert_array_equal(np.isnan(end), [[False, False], [False, True]])
    np.testing.assert_array_equal(np.isnan(mean), np.isnan(end))
