import numpy as np
import pytest
import xarray as xr

from isoklx.errors import DatasetError, UsageError
from isoklx.stats.endpoint import lifetimes
from tests.small_sweeps import small_sweep

NAN = np.nan


def test_a_surviving_trajectory_is_alive_at_the_window_or_censored_before():
    ds = small_sweep(
        [[[[0.9, 0.9, 0.9], [0.9, 0.9, NAN], [0.9, 0.1, NAN]]]],
        fork=[0, 4, 8],
        gen_len=[[[8, 5, 5]]],
    )
    lives = lifetimes(ds).squeeze()
    assert lives.end.values.tolist() == [2, 1, 1]
    assert lives.died.values.tolist() == [False, False, True]
    assert lives.censored.values.tolist() == [False, True, False]


def test_the_fork_at_gen_len_counts_and_later_forks_do_not():
    rows = [[0.9, 0.1, 0.9], [0.9, 0.1, 0.9]]
    ds = small_sweep([[rows]], fork=[0, 4, 8], gen_len=[[[4, 3]]])
    assert lifetimes(ds).died.values.ravel().tolist() == [True, False]


def test_without_gen_len_the_rollout_ends_at_its_last_observation():
    ds = small_sweep([[[[0.9, 0.9, 0.9], [0.9, 0.9, NAN]]]], fork=[0, 4, 8])
    ds["gen_len"] = xr.full_like(ds.gen_len, NAN)
    lives = lifetimes(ds).squeeze()
    assert lives.end.values.tolist() == [2, 1]
    assert lives.censored.values.tolist() == [False, True]


def test_a_rollout_that_was_not_run_is_neither_dead_nor_censored():
    ds = small_sweep([[[[NAN, NAN]], [[0.9, 0.9]]]], fork=[0, 8], gen_len=[[[NAN], [8]]])
    lives = lifetimes(ds).sel(alpha=0).squeeze()
    assert (lives.end, lives.died, lives.censored) == (-1, False, False)


def test_death_by_kl_is_at_the_first_token_that_reaches_the_threshold():
    kl = [[[[0, 5, 1, 9], [0, 4, NAN, NAN], [0, 1, 2, 3]]]]
    ds = small_sweep(np.ones((1, 1, 3, 1)), fork=[4], gen_len=[[[4, 2, 4]]], kl=kl)
    lives = lifetimes(ds, "kl", 5).squeeze()
    assert lives.end.values.tolist() == [1, 1, 3]
    assert lives.died.values.tolist() == [True, False, False]
    assert lives.censored.values.tolist() == [False, True, False]
    assert lives.recovered.values.tolist() == [True, False, False]


def test_questions_have_their_own_lengths(sample_ds):
    lives = lifetimes(sample_ds, "pmass")
    assert lives.end.dims == ("threshold", "cell", "alpha", "question")
    last = sample_ds.fork.values[lives.end.sel(threshold=0.75)]
    assert (last <= sample_ds.gen_len_qa).all()


def test_a_single_cell_or_dose_may_be_selected(sample_ds):
    one = sample_ds.sel(run_id=sample_ds.run_id[1].item(), alpha=4.0)
    expected = lifetimes(sample_ds).isel(cell=[1]).sel(alpha=[4.0])
    xr.testing.assert_equal(lifetimes(one), expected.reset_index("run_id"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metric": "p_mass"}, "metric 'p_mass' not found; available: pmass_eval, pmass, kl"),
        ({"threshold": 0}, r"threshold of pmass_eval must be in \(0, 1\], got 0"),
        ({"threshold": [0.5, 1.01]}, r"threshold of pmass_eval must be in \(0, 1\], got 1.01"),
        ({"threshold": NAN}, "threshold of pmass_eval must be .* got nan"),
        ({"metric": "kl", "threshold": -1}, "threshold of kl must be above 0, in nats, got -1"),
        ({"metric": "kl", "threshold": np.inf}, "threshold of kl must be .* got inf"),
        ({"metric": "kl"}, "metric 'kl' has no default threshold; give one, in nats"),
        ({"threshold": "high"}, "threshold must be a number, got 'high'"),
        ({"threshold": [0.5, 0.5]}, "thresholds must be unique"),
        ({"threshold": []}, "at least one"),
    ],
)
def test_invalid_arguments_are_rejected(sample_ds, arguments, message):
    with pytest.raises(UsageError, match=message):
        lifetimes(sample_ds, **arguments)


def test_a_metric_that_no_cell_has_is_rejected(real):
    expected = "^no cell of this sweep has pmass; available metric: pmass_eval$"
    with pytest.raises(DatasetError, match=expected):
        lifetimes(real, "pmass")


def test_a_sweep_without_pmass_names_no_other_metric():
    ds = small_sweep([[[[NAN, NAN]]]], fork=[0, 8])
    for metric in ("pmass_eval", "pmass"):
        with pytest.raises(DatasetError, match=f"^no cell of this sweep has {metric}$"):
            lifetimes(ds, metric)


def test_a_flag_of_0_means_that_no_cell_has_the_metric(sample_ds):
    with pytest.raises(DatasetError, match="no cell of this sweep has kl"):
        lifetimes(sample_ds.assign(has_kl=0 * sample_ds.has_kl), "kl", 5)


def test_a_dataset_of_another_kind_is_rejected():
    with pytest.raises(DatasetError, match="it has no pmass_eval, fork, gen_len"):
        lifetimes(xr.Dataset({"kl": ("x", [1.0])}))


def test_the_length_of_an_unpaired_rollout_is_ignored():
    ds = small_sweep(
        [[[[0.9, 0.9, 0.9], [0.9, 0.1, 0.9]]] * 2],
        fork=[0, 4, 8],
        gen_len=[[[1, 1], [1, 1]]],
        kl=[[[[1, 2, 3], [4, 5, 6]]] * 2],
    )
    ds["unpaired"] = (("cell", "alpha"), np.array([[0, 1]], dtype="int8"))
    assert lifetimes(ds).end.squeeze("threshold").values.tolist() == [[[0, 0], [2, 1]]]
    assert lifetimes(ds, "kl", 3).died.values.tolist() == [[[[False, True], [True, True]]]]
    one = lifetimes(ds.isel(cell=0, alpha=1)).end
    assert one.squeeze(["threshold", "cell", "alpha"]).values.tolist() == [2, 1]
