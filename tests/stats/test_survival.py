import warnings

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from dask.local import get_sync
from lifelines import KaplanMeierFitter
from scipy.stats import binomtest

import isoklx
from isoklx.errors import DatasetError, UsageError
from isoklx.stats.contrasts import survival_contrast
from isoklx.stats.survival import survival, survival_summary
from tests.handmade import make_cell
from tests.small_sweeps import small_sweep

NAN = np.nan
FORKS = np.array([0, 1, 2, 4, 8, 16, 32])


def chunked(ds):
    """Chunk the measured arrays along every dimension, in unequal chunks."""
    ds = ds.load()
    large = ds[["kl", "pmass_eval", "pmass"]].chunk(cell=2, alpha=1, token=10, fork=5)
    return ds.assign({**large.data_vars, "gen_len": ds.gen_len.chunk(cell=3, prompt=2)})


@pytest.mark.parametrize(
    ("file", "distinct"), [("survival.csv", False), ("survival_distinct.csv", True)]
)
def test_the_measured_sweep_agrees_with_the_oracle(real, oracle, file, distinct):
    expected = pd.read_csv(oracle / file).set_index(["group", "threshold", "alpha", "fork"])
    thresholds = expected.index.unique("threshold").to_numpy()
    parts = []
    for by in (None, "method"):
        curves = survival(
            real, threshold=thresholds, by=by, distinct=distinct, interval="greenwood"
        )
        curves = curves.rename(method="group") if by else curves.expand_dims(group=["all"])
        bounds = curves.survival_ci.to_dataset("ci_bound")
        curves = curves.assign(ci_lower=bounds.lower, ci_upper=bounds.upper)
        parts.append(curves[list(expected)].to_dataframe(dim_order=list(expected.index.names)))
    found = pd.concat(parts).loc[expected.index, list(expected)]
    assert sum(map(len, parts)) == len(expected)
    pd.testing.assert_frame_equal(
        found, expected, check_dtype=False, check_index_type=False, rtol=0, atol=1e-9
    )


def test_the_beta_product_agrees_with_the_oracle(real, oracle):
    keys = ["method", "threshold", "alpha", "fork"]
    expected = pd.read_csv(oracle / "intervals.csv").set_index(keys)
    thresholds = expected.index.unique("threshold").to_numpy()
    # One trajectory per prompt and group, so that both methods agree.
    for interval in ("auto", "beta"):
        curves = survival(real, threshold=thresholds, by="method", interval=interval)
        bounds = curves.survival_ci.to_dataset("ci_bound")
        found = bounds.to_dataframe(dim_order=keys).loc[expected.index]
        assert len(found) == curves.survival.size
        for bound in ("lower", "upper"):
            np.testing.assert_allclose(found[bound], expected[bound], rtol=0, atol=1e-8)
            # Three standard deviations of the draws, and the error of the method of moments.
            np.testing.assert_allclose(found[bound], expected[f"{bound}_mc"], rtol=0, atol=3e-3)


def test_the_restricted_mean_and_its_bracket_agree_with_the_oracle(real, oracle):
    expected = pd.read_csv(oracle / "doses.csv").set_index(["method", "threshold", "alpha"])
    thresholds = expected.index.unique("threshold").to_numpy()
    parts = [
        survival_summary(real, threshold=thresholds, by="method"),
        survival_summary(real, threshold=thresholds).assign(method="all"),
    ]
    found = pd.concat(parts).set_index(expected.index.names).loc[expected.index]
    assert sum(map(len, parts)) == len(expected)
    for name, column in (("restricted_mean", "latest"), ("restricted_mean_earliest", "earliest")):
        np.testing.assert_allclose(found[name], expected[f"rmst_{column}"], rtol=0, atol=1e-9)
    assert (found[["n", "n_distinct"]] == expected[["n", "n_distinct"]]).all(axis=None)


def simulated_sets(n_sets):
    """Simulate one set per dose: three cells with different forks and prompts, some censored."""
    rng = np.random.default_rng(5)
    shape = (3, n_sets, 6)
    pmass = rng.random((*shape, FORKS.size)) ** rng.choice([0.02, 0.2, 1], (1, n_sets, 1, 1))
    gen_len = np.where(rng.random(shape) < 0.5, FORKS[-1], rng.integers(0, FORKS[-1], shape))
    not_run = rng.random(shape) < rng.choice([0, 0.9], (1, n_sets, 1))
    pmass[not_run] = NAN
    pmass[1, ..., ::2] = NAN
    pmass[2, ..., 3:] = NAN
    return small_sweep(pmass, fork=FORKS, gen_len=np.where(not_run, NAN, gen_len))


def followed(pmass, gen_len, threshold):
    """Return the event time and whether it is a death, by a plain loop."""
    last = None
    for fork, value in zip(FORKS, pmass, strict=True):
        if np.isnan(value) or fork > gen_len:
            continue
        last = fork
        if value < np.float32(threshold):
            return last, True
    return last, False


@pytest.mark.slow
def test_simulated_sets_agree_with_lifelines():
    threshold = 0.75
    ds = simulated_sets(300)
    curves = survival(ds, threshold=threshold, interval="greenwood").squeeze("threshold")
    interior = 0
    for alpha in range(ds.sizes["alpha"]):
        curve = curves.isel(alpha=alpha)
        rows = zip(
            ds.pmass_eval.values[:, alpha].reshape(-1, FORKS.size),
            ds.gen_len.values[:, alpha].ravel(),
            strict=True,
        )
        lives = [followed(*row, threshold) for row in rows]
        lives = [life for life in lives if life[0] is not None]
        assert curve.n == len(lives)
        if not lives:
            assert curve.survival.isnull().all()
            continue
        ends, died = map(np.array, zip(*lives, strict=True))
        with warnings.catch_warnings():
            # Its interval divides by log S = 0 without events.
            warnings.simplefilter("ignore", RuntimeWarning)
            fit = KaplanMeierFitter().fit(ends, died)
        assert curve.at_risk.values.tolist() == [(ends >= fork).sum() for fork in FORKS]
        assert curve.died.values.tolist() == [(ends[died] == fork).sum() for fork in FORKS]
        # lifelines repeats the last value beyond the last observation.
        estimate = fit.survival_function_at_times(FORKS).to_numpy()
        estimate[(ends.max() < FORKS) & (estimate > 0)] = NAN
        np.testing.assert_allclose(curve.survival, estimate, rtol=0, atol=1e-9)
        bounds = fit.confidence_interval_.reindex(FORKS, method="ffill").to_numpy()
        inside = (curve.survival.values > 0) & (curve.survival.values < 1)
        np.testing.assert_allclose(curve.survival_ci[inside], bounds[inside], rtol=0, atol=1e-9)
        interior += inside.any()
    assert interior > 100


@pytest.mark.parametrize("dim", ["cell", "prompt"])
def test_the_order_of_cells_and_prompts_changes_nothing(dim):
    ds = simulated_sets(20)
    shuffled = ds.isel({dim: np.random.default_rng(0).permutation(ds.sizes[dim])})
    kwargs = {"threshold": [0.5, 0.9], "by": "seed"}
    xr.testing.assert_identical(survival(shuffled, **kwargs), survival(ds, **kwargs))


@pytest.mark.parametrize("distinct", [True, False])
@pytest.mark.parametrize(
    "arguments",
    [{}, {"metric": "pmass", "by": "method"}, {"metric": "kl", "threshold": [2, 5], "by": "seed"}],
)
def test_dask_arrays_stay_lazy_and_give_equal_results(sample_ds, arguments, distinct):
    looks = []

    def counting(graph, keys, **options):
        looks.append(keys)
        return get_sync(graph, keys, **options)

    lazy = chunked(sample_ds)
    with dask.config.set(scheduler=counting):
        curves = survival(lazy, **arguments, distinct=distinct)
    # One computation finds the cells that have pmass; KL has a flag.
    assert len(looks) == (0 if arguments.get("metric") == "kl" else 1)
    assert all(curves[name].chunks for name in curves)
    expected = survival(sample_ds, **arguments, distinct=distinct)
    xr.testing.assert_identical(curves.compute(), expected)


def test_groups_are_dimensions_and_equal_the_curves_of_their_cells(sample_ds):
    curves = survival(sample_ds, by=["model_short", "method"])
    assert curves.survival.dims == ("threshold", "model_short", "method", "alpha", "fork")
    for model in curves.model_short.values:
        for method in curves["method"].values:
            own = sample_ds.query(cell=f"method == '{method}' and model_short == '{model}'")
            part = curves.sel({"model_short": model, "method": method}, drop=True)
            xr.testing.assert_equal(part, survival(own))


def test_duplicates_count_once_by_default():
    rows = [[0.9, 0.1], [0.9, 0.9]]
    ds = small_sweep([[rows], [rows]], fork=[0, 8])
    for distinct, at_risk in ((True, 2), (False, 4)):
        curves = survival(ds, distinct=distinct)
        assert (curves.n, curves.n_distinct) == (4, 2)
        assert curves.at_risk.isel(fork=0) == at_risk
        assert curves.attrs["cells"] == ("distinct" if distinct else "all")


def test_several_trajectories_of_a_prompt_count_as_one():
    alive, dead = [[0.9, 0.9]], [[0.9, 0.1]]
    prompts = alive * 6 + dead * 2
    one = small_sweep([[prompts]], fork=[0, 8])
    three = small_sweep([[prompts]] * 3, fork=[0, 8], method=["a", "b", "c"])
    expected = survival(one).survival_ci
    xr.testing.assert_allclose(survival(three).survival_ci, expected)
    xr.testing.assert_allclose(survival(three, interval="prompts").survival_ci, expected)
    taken_apart = survival(three, interval="beta").survival_ci
    assert (np.diff(taken_apart) < np.diff(expected)).all()
    assert survival(three).n_prompts.item() == 8
    # Counting the duplicates does not narrow the interval.
    seeds = small_sweep([[prompts]] * 3, fork=[0, 8])
    xr.testing.assert_allclose(survival(seeds, distinct=False).survival_ci, expected)


def test_duplicates_are_left_out_within_each_group(real):
    rows = survival_summary(real, by="seed")
    assert (rows.n_distinct == 24).all()
    by_method = survival_summary(real, by=["method", "seed"])
    assert (by_method.n_distinct == 8).all()


def test_a_rollout_that_ended_may_count_as_alive_to_its_window():
    pmass = [[0.9, 0.9, 0.1], [0.9, 0.9, NAN], [0.9, NAN, NAN], [NAN, NAN, NAN]]
    ds = small_sweep([[pmass]], fork=[0, 4, 8], gen_len=[[[8, 5, 3, 0]]])
    censored, alive = survival(ds).squeeze(), survival(ds, ended="alive").squeeze()
    assert censored.at_risk.values.tolist() == [3, 2, 1]
    assert censored.survival.values[-1] == 0
    assert alive.at_risk.values.tolist() == [3, 3, 3]
    assert alive.censored.sum() == 0
    assert alive.survival.values[-1] == pytest.approx(2 / 3)
    assert alive.attrs["ended"] == "alive"


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (
            {"interval": "wald"},
            "interval must be one of auto, beta, prompts, greenwood, got 'wald'",
        ),
        ({"ended": "dead"}, "ended must be one of censored, alive, got 'dead'"),
    ],
)
def test_an_unknown_option_is_rejected(sample_ds, argument, message):
    with pytest.raises(UsageError, match=message):
        survival(sample_ds, **argument)


def test_doses_that_were_not_run_have_no_survival_and_no_row():
    ds = small_sweep([[[[0.9]], [[NAN]]], [[[0.8]], [[0.1]]]], fork=[4], method=["a", "b"])
    curves = survival(ds, by="method").squeeze()
    np.testing.assert_array_equal(curves.n, [[1, 0], [1, 1]])
    np.testing.assert_array_equal(curves.survival, [[1, NAN], [1, 0]])
    rows = survival_summary(ds, by="method")
    assert list(zip(rows.method, rows.alpha, strict=True)) == [("a", 0), ("b", 0), ("b", 1)]


def test_cells_of_other_windows_leave_the_risk_set_and_are_not_censored():
    pmass = [[[[0.9, 0.9, NAN]] * 2], [[[0.9, 0.8, 0.1], [NAN] * 3]]]
    ds = small_sweep(pmass, fork=[0, 8, 16], window=[8, 16])
    curves = survival(ds).squeeze()
    assert curves.at_risk.values.tolist() == [3, 3, 1]
    assert curves.censored.sum() == 0
    assert survival_summary(ds).horizon.tolist() == [16]
    assert survival_summary(ds, by="window").horizon.tolist() == [8, 16]


def test_the_restricted_mean_of_short_windows_ends_at_their_horizon():
    both, short = [[0.9, 0.9, NAN]], [[0.9, 0.9, 0.9]]
    ds = small_sweep(
        [[both, both], [short, [[NAN] * 3]]], fork=[0, 8, 16], window=[16, 32], method=["a", "b"]
    )
    for by, horizon in ((None, [32, 16]), ("method", [16, 16, 32])):
        rows = survival_summary(ds, by=by)
        assert rows.horizon.tolist() == horizon
        assert rows.restricted_mean.tolist() == horizon
    assert survival(ds, by="method").horizon.values.tolist() == [[16, 16], [32, 0]]


def test_each_group_is_summarised_at_its_own_horizon():
    pmass = [[[[0.9, 0.9, NAN]] * 8], [[[0.9, 0.9, 0.9]] * 8]]
    ds = small_sweep(pmass, fork=[0, 8, 64], window=[8, 64])
    rows = survival_summary(ds, by="window")
    # Each group is estimated at its own horizon.
    assert rows.end_lower.tolist() == pytest.approx([0.025 ** (1 / 8)] * 2)


def test_prompts_with_more_trajectories_than_others_make_the_interval_wider():
    """One prompt in eight has three trajectories: ten count as 100 / 16 independent ones."""
    one, three = [[0.9]], [[[0.9]] + [[NAN]] * 7]
    ds = small_sweep([[one * 8], three, three], fork=[8], method=list("abc"))
    (lower, upper) = survival(ds).squeeze().survival_ci.values
    assert lower == pytest.approx(0.025 ** (16 / 100))
    assert upper == 1


def short_rollouts(gen_len=15):
    """Build 30 rollouts per dose; at dose 1 they end after 15 tokens, before the fork at 16."""
    whole, short = [[0.95] * 4] * 30, [[0.95, NAN, NAN, NAN]] * 29 + [[0.1, NAN, NAN, NAN]]
    lengths = [[[48] * 30, [gen_len] * 30]]
    return small_sweep([[whole, short]], fork=[0, 16, 32, 48], gen_len=lengths)


def test_a_curve_ends_with_its_last_trajectory_at_risk():
    curves = survival(short_rollouts()).squeeze()
    assert curves.at_risk.values.tolist() == [[30] * 4, [30, 0, 0, 0]]
    np.testing.assert_allclose(curves.survival, [[1] * 4, [29 / 30, NAN, NAN, NAN]])
    assert curves.survival_ci.isel(alpha=1).isnull().any("ci_bound").values.tolist() == [
        False,
        *[True] * 3,
    ]
    assert curves.observed_to.values.tolist() == [48, 0]
    assert curves.observed_to.dtype == np.int32


def test_the_summary_reports_observed_to_and_no_mean_of_a_curve_that_ends_early():
    rows = survival_summary(short_rollouts())
    assert rows.observed_to.tolist() == [48, 0]
    assert rows.horizon.tolist() == [48, 48]
    # Clopper and Pearson's interval of 29 of 30 at token 0.
    exact = binomtest(29, 30).proportion_ci(0.95, method="exact")
    assert rows.end_survival.tolist() == pytest.approx([1, 29 / 30])
    assert rows.end_lower.tolist() == pytest.approx([0.025 ** (1 / 30), exact.low])
    assert rows.end_upper.tolist() == pytest.approx([1, exact.high])
    for name in ("restricted_mean", "restricted_mean_earliest"):
        np.testing.assert_array_equal(rows[name], [48, NAN])


def test_estimates_at_the_horizon_are_nan_if_the_curve_ends_before():
    ds = short_rollouts().assign_coords(c_star=("cell", [2.0]), target_kl=("cell", [1.0]))
    ds = ds.assign(p_true=ds["pmass"]).assign_coords(question=[])
    doses = isoklx.dose_response(ds).squeeze()
    for name in ("survival", "restricted_mean", "restricted_mean_earliest"):
        assert doses[name].isnull().values.tolist() == [False, True]
    for name in ("survival_ci", "restricted_mean_ci"):
        assert doses[name].isnull().all("ci_bound").values.tolist() == [False, True]
    (row,) = isoklx.safe_dose(ds).to_dict("records")
    assert (row["safe_dose"], row["next_dose"]) == (0, 1)
    assert np.isnan([row["next_survival"], row["next_lower"]]).all()


def test_a_curve_reaches_the_horizon_if_ended_rollouts_count_as_alive():
    curves = survival(short_rollouts(), ended="alive").squeeze()
    assert curves.at_risk.isel(alpha=1).values.tolist() == [30, 29, 29, 29]
    assert curves.survival.isel(alpha=1).values == pytest.approx([29 / 30] * 4)
    assert curves.observed_to.values.tolist() == [48, 48]


def test_once_all_are_dead_survival_is_known_to_the_horizon():
    ds = small_sweep([[[[0.9, 0.1, NAN]] * 3]], fork=[0, 4, 8], gen_len=[[[8, 5, 4]]])
    assert survival(ds).survival.values.ravel().tolist() == [1, 0, 0]
    (row,) = survival_summary(ds).to_dict("records")
    assert (row["end_survival"], row["observed_to"], row["restricted_mean"]) == (0, 8, 4)


@pytest.mark.parametrize(("gen_len", "observed_to"), [(NAN, 16), (40, 32), (15, 16)])
def test_a_rollout_of_unknown_length_is_observed_to_its_last_fork(gen_len, observed_to):
    pmass = [[0.9, 0.9, NAN, NAN]] * 2 + [[0.9, 0.9, 0.9 if gen_len == 40 else NAN, NAN]]
    ds = small_sweep([[pmass]], fork=[0, 16, 32, 48], gen_len=[[[20, 20, gen_len]]])
    assert survival(ds).observed_to.item() == observed_to


def test_forks_of_another_cell_do_not_end_the_curve_of_one_that_ran_to_its_window():
    """Window 100, forks every 32 tokens up to 96; in the other cell at 100."""
    every = [[0.9, 0.9, 0.1, NAN], [0.9, 0.9, 0.9, NAN]]
    ds = small_sweep(
        [[every], [[[0.9, NAN, NAN, 0.9]] * 2]],
        fork=[0, 64, 96, 100],
        window=[100, 100],
        method=["a", "b"],
    )
    rows = survival_summary(ds, by="method")
    assert rows.observed_to.tolist() == [100, 100]
    assert rows.end_survival.tolist() == [0.5, 1]
    assert rows.restricted_mean.tolist() == [96 + 2, 100]
    alone = survival_summary(ds.isel(cell=[0], fork=[0, 1, 2]), by="method")
    pd.testing.assert_frame_equal(alone, rows[:1])


def test_a_shorter_window_that_was_completed_does_not_reach_the_horizon_of_a_longer_one():
    whole, lost = [[0.9, 0.9, NAN]] * 3, [[0.9, NAN, NAN]] * 3
    ds = small_sweep(
        [[whole], [lost]], fork=[0, 8, 64], window=[8, 64], gen_len=[[[8] * 3], [[5] * 3]]
    )
    (row,) = survival_summary(ds).to_dict("records")
    assert (row["observed_to"], row["horizon"]) == (8, 64)
    assert np.isnan(row["restricted_mean"])


def test_kl_is_known_up_to_the_longest_rollout():
    kl = np.full((1, 2, 2, 20), 0.5)
    kl[0, 1, :, 15:] = NAN
    pmass = np.full((1, 2, 2, 1), 0.9)
    lengths = [[[20, 20], [15, 15]]]
    ds = small_sweep(pmass, fork=[0], kl=kl, gen_len=lengths, window=20)
    curves = survival(ds, "kl", 1.0).squeeze()
    assert curves.observed_to.values.tolist() == [20, 14]
    # The token axis is no longer than the longest rollout.
    short = survival(ds.isel(alpha=[1], token=slice(0, 15)), "kl", 1.0)
    assert (short.observed_to.item(), short.horizon.item()) == (14, 20)


def test_a_recovered_trajectory_is_counted_where_it_died():
    ds = small_sweep([[[[0.9, 0.1, 0.9], [0.1, 0.1, 0.1], [0.9, 0.9, 0.9]]]], fork=[0, 4, 8])
    curves = survival(ds).squeeze()
    assert curves.recovered.values.tolist() == [0, 1, 0]
    assert curves.survival.values == pytest.approx([2 / 3, 1 / 3, 1 / 3])


def test_results_have_long_names_and_attributes(sample_ds):
    curves = survival(sample_ds)
    assert curves.attrs["metric"] == "pmass_eval"
    assert curves.ci_bound.values.tolist() == ["lower", "upper"]
    assert curves.ci_bound.attrs == {"level": 0.95, "interval": "auto"}
    for name in [*curves, "threshold", "fork", "alpha"]:
        assert curves[name].attrs["long_name"]
        assert ("units" in curves[name].attrs) == (name in curves.data_vars)


def test_the_summary_adds_up(sample_ds):
    for distinct, total in ((True, "n_distinct"), (False, "n")):
        rows = survival_summary(sample_ds, threshold=[0.5, 0.9], by="method", distinct=distinct)
        curves = survival(sample_ds, threshold=[0.5, 0.9], by="method", distinct=distinct)
        assert len(rows) == 2 * 3 * sample_ds.sizes["alpha"]
        alive = rows[total] - rows.died - rows.censored
        at_the_end = (sample_ds.gen_len == sample_ds.window).sum().item()
        assert (alive >= 0).all()
        assert alive.sum() <= 2 * at_the_end
        keys = ["threshold", "method", "alpha"]
        for _, row in rows.iterrows():
            curve = curves.sel({key: row[key] for key in keys})
            assert row.end_survival == curve.survival[-1]
            assert [row.end_lower, row.end_upper] == curve.survival_ci[-1].values.tolist()


def test_the_summary_of_a_small_sweep_computed_by_hand():
    pmass = [[0.9, 0.9, 0.9], [0.9, 0.1, 0.9], [0.9, 0.1, 0.1], [0.9, NAN, NAN]]
    ds = small_sweep([[pmass]], fork=[0, 4, 8], gen_len=[[[8, 8, 8, 3]]])
    (row,) = survival_summary(ds).to_dict("records")
    lower, upper = row.pop("end_lower"), row.pop("end_upper")
    assert 0 < lower < 1 / 3 < upper < 1
    assert row == pytest.approx(
        {
            "threshold": 0.75,
            "alpha": 0,
            "n": 4,
            "n_distinct": 4,
            "n_prompts": 4,
            "died": 2,
            "censored": 1,
            "recovered": 1,
            "end_survival": 1 / 3,
            "observed_to": 8,
            "half_life_after": 0,
            "half_life_by": 4,
            "restricted_mean": 4 + 4 / 3,
            "restricted_mean_earliest": 2 + 2,
            "horizon": 8,
        }
    )


def test_a_selection_of_one_cell_or_dose_is_summarised(sample_ds):
    one = sample_ds.sel(run_id=sample_ds.run_id[1].item(), alpha=4.0)
    rows = survival_summary(one, by=["method", "model_short"])
    assert rows[["method", "alpha", "n"]].to_numpy().tolist() == [
        [one.method.item(), 4.0, sample_ds.sizes["prompt"]]
    ]


def test_a_selection_without_observations_is_rejected():
    ds = small_sweep([[[[NAN, NAN]]]], fork=[0, 8], gen_len=[[[NAN]]])
    with pytest.raises(DatasetError, match="no cell of this sweep has pmass_eval"):
        survival_summary(ds)


@pytest.mark.parametrize("tabulate", [survival, survival_summary, survival_contrast])
def test_a_metric_that_no_cell_has_is_rejected(tmp_path, tabulate):
    questions = {"fork_points": [0, 4], "pmass": {"0": [[0.9, 0.9]], "1": [[0.9, 0.1]]}}
    make_cell(tmp_path, pmass=questions)
    ds = isoklx.open_sweep(tmp_path)
    expected = "^no cell of this sweep has pmass_eval; available metric: pmass$"
    for sweep in (ds, ds.chunk(alpha=1)):
        with pytest.raises(DatasetError, match=expected):
            tabulate(sweep)


def test_cells_with_only_the_other_pmass_form_no_group():
    ds = small_sweep([[[[0.9]]], [[[NAN]]]], fork=[4], method=["a", "b"])
    assert survival(ds, by="method")["method"].values.tolist() == ["a"]


def test_an_unknown_label_is_rejected(sample_ds):
    with pytest.raises(
        UsageError, match="cannot group by 'layers': label not found; available: run_id,"
    ):
        survival(sample_ds, by="layers")
