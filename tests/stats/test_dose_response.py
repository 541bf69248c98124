from __future__ import annotations

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from dask.local import get_sync
from scipy.stats import t as scipy_t
from scipy.stats import ttest_1samp

import isoklx
from isoklx.stats.dose_response import dose_response
from isoklx.stats.kernels import clusters
from tests.small_sweeps import small_sweep

NAN = np.nan
LABELS = {"threshold": 0.75}


def asked(p_true, answer=None, alphas=None, kl=None, **labels):
    """Build a sweep of yes/no questions from p_true (cell, alpha, question, fork) and answers."""
    p_true = np.asarray(p_true, dtype="float32")
    n_cell, n_alpha, n_question, n_fork = p_true.shape
    alive = np.where(np.isnan(p_true).all(axis=(2, 3))[:, :, np.newaxis, np.newaxis], NAN, 0.9)
    fork = np.arange(n_fork) * 8
    # Different pmass makes the cells distinct.
    alive = np.repeat(alive - 0.001 * np.arange(n_cell).reshape(-1, 1, 1, 1), n_fork, axis=3)
    ds = small_sweep(np.repeat(alive, 2, axis=2), fork=fork, window=8 * n_fork, kl=kl, **labels)
    dims = ("cell", "alpha", "question", "fork")
    ds = ds.drop_vars(["pmass", "p_true", "gen_len_qa"], errors="ignore")
    if answer is not None:
        ds = ds.assign(answer=(("cell", "question"), np.asarray(answer, dtype=float)))
    alphas = np.arange(n_alpha, dtype=float) if alphas is None else alphas
    return ds.assign(
        p_true=(dims, p_true),
        pmass=(dims, np.where(np.isnan(p_true), NAN, 0.9).astype("float32")),
        gen_len_qa=(dims[:3], np.full(p_true.shape[:3], 8.0 * n_fork)),
        target_kl=("cell", np.ones(n_cell)),
        c_star=("cell", np.arange(1.0, n_cell + 1)),
    ).assign_coords(alpha=alphas, question=np.arange(n_question))


def macro(values, key, level=0.95):
    """Compute the macro average over both answers, and Welch's interval, by textbook formulas."""
    classes = [values[key == 1], values[key == 0]]
    estimate = sum(each.mean() for each in classes) / 2
    parts = [each.var(ddof=1) / each.size / 4 for each in classes]
    df = sum(parts) ** 2 / sum(
        part**2 / (each.size - 1) for part, each in zip(parts, classes, strict=True)
    )
    half = scipy_t.ppf((1 + level) / 2, df) * np.sqrt(sum(parts))
    return estimate, (estimate - half, estimate + half)


class TestAnswers:
    def test_constant_answers_have_no_effect_at_any_dose(self):
        nothing = np.full((2, 3, 4, 2), NAN)
        nothing[0, :2], nothing[1, 1:] = 0.9, 0.1
        doses = dose_response(asked(nothing, [[1, 0, 1, 0]] * 2), by=None).sel(LABELS)
        for name in ("acquiescence", "correct"):
            np.testing.assert_allclose(doses[name], [0, 0, NAN], atol=1e-12)
            assert doses[f"{name}_n_cells"].values.tolist() == [1, 1, 0]
            assert doses[f"{name}_n_questions"].values.tolist() == [4, 4, 0]

    def test_without_alpha_0_there_is_no_effect(self):
        p_true = np.random.default_rng(0).random((2, 2, 4, 3))
        doses = dose_response(asked(p_true, [[1, 0, 1, 0]] * 2, alphas=[0.5, 1.0]), by=None)
        assert doses["acquiescence"].isnull().all()
        assert doses["correct"].isnull().all()
        assert not doses["acquiescence_n_cells"].any()

    def test_they_agree_with_a_plain_loop_over_cells_questions_and_forks(self):
        rng = np.random.default_rng(1)
        p_true = rng.random((4, 4, 9, 3))
        p_true[rng.random(p_true.shape) < 0.15] = NAN
        p_true[3, 1] = NAN  # a cell that was not run at alpha 0
        p_true[1, 2] = NAN
        alphas = np.array([-1.0, 0.0, 0.5, 2.0])
        key = np.array([1, 0, 0, 1, 1, 0, 1, 0, 0])
        ds = asked(p_true, [key] * 4, alphas=alphas)
        doses = dose_response(ds, by=None).sel(LABELS)
        exact = p_true.astype("float32").astype(float)
        for a in range(4):
            rows = []
            for cell in range(4):
                row = {}
                for q in range(9):
                    pairs = zip(exact[cell, a, q], exact[cell, 1, q], strict=True)
                    changes = [x - y for x, y in pairs if not np.isnan(x - y)]
                    if changes:
                        row[q] = np.mean(changes)
                if row:
                    rows.append(row)
            shared = sorted(set.intersection(*map(set, rows)))
            values = np.array([np.mean([row[q] for row in rows]) for q in shared])
            at = doses.isel(alpha=a)
            assert at["acquiescence_n_cells"] == at["correct_n_cells"] == len(rows)
            assert at["acquiescence_n_questions"] == len(shared)
            assert at["acquiescence"] == pytest.approx(values.mean())
            if a == 1:
                assert at["acquiescence"] == at["correct"] == 0
                continue
            bounds = ttest_1samp(values, 0).confidence_interval(0.95)
            np.testing.assert_allclose(at["acquiescence_ci"], bounds)
            toward = np.where(key[shared] == 1, values, -values)
            estimate, bounds = macro(toward, key[shared])
            assert at["correct"] == pytest.approx(estimate)
            np.testing.assert_allclose(at["correct_ci"], bounds)

    def test_a_bias_to_true_cancels_in_correct(self):
        """Eight questions, four of them reversed; "true" becomes more likely for all of them."""
        base = np.array([0.8, 0.7, 0.9, 0.6, 0.2, 0.3, 0.1, 0.4])
        bias = np.array([0.16, 0.18, 0.17, 0.17, 0.16, 0.18, 0.17, 0.17])
        key = np.array([1, 1, 1, 1, 0, 0, 0, 0])
        p_true = np.stack([base, base + bias])[np.newaxis, :, :, np.newaxis]
        at = dose_response(asked(p_true, [key]), by=None).sel(LABELS).sel(alpha=1)
        assert at["acquiescence"] == pytest.approx(0.17)
        assert at["acquiescence_ci"].values.min() > 0.16
        assert at["correct"] == pytest.approx(0, abs=1e-7)
        low, high = at["correct_ci"].values
        assert low < 0 < high

    def test_correct_is_nan_unless_both_answers_are_recorded(self):
        p_true = np.random.default_rng(2).random((1, 2, 6, 2))
        for answer, questions in ((None, 0), ([[NAN] * 6], 0), ([[1] * 6], 6)):
            doses = dose_response(asked(p_true, answer), by=None)
            assert doses["acquiescence"].notnull().all()
            assert doses["correct"].isnull().all()
            assert doses["correct_n_questions"].values.tolist() == [questions] * 2

    def test_a_question_with_different_answers_between_cells_is_left_out(self):
        p_true = np.random.default_rng(3).random((2, 2, 5, 2))
        doses = dose_response(asked(p_true, [[1, 0, 1, 0, 1], [1, 0, 1, 0, 0]]), by=None)
        assert doses["correct_n_questions"].values.tolist() == [4, 4]
        assert doses["acquiescence_n_questions"].values.tolist() == [5, 5]

    def test_a_duplicate_without_alpha_0_does_not_replace_the_cell_that_has_it(self):
        ds = asked(np.random.default_rng(4).random((2, 2, 4, 2)), [[1, 0, 1, 0]] * 2)
        again = ds.isel(cell=[0])
        again = again.assign(
            {name: again[name].where(again["alpha"] == 1) for name in ("p_true", "pmass_eval")}
        )
        copy = again.reset_index("run_id").assign_coords(run_id=("cell", ["copy"]))
        first = xr.concat([copy.set_xindex("run_id"), ds], "cell", data_vars="minimal")
        names = ["acquiescence", "acquiescence_ci", "acquiescence_n_cells", "correct"]
        xr.testing.assert_allclose(
            dose_response(first, by=None)[names], dose_response(ds, by=None)[names]
        )


class TestHeldOut:
    @pytest.mark.parametrize("stat", ["p95", "rms", "mean"])
    def test_it_is_the_statistic_of_the_calibration(self, stat):
        rng = np.random.default_rng(5)
        kl = rng.exponential(size=(2, 2, 6, 10)).astype("float32")
        kl[:, :, 3, 7:] = NAN
        ds = small_sweep(rng.random((2, 2, 6, 2)) / 9 + 0.8, fork=[0, 10], kl=kl)
        ds = with_no_questions(ds).assign(target_stat=("cell", [stat] * 2))
        doses = dose_response(ds, by=None).sel(LABELS)
        assert doses["heldout_kl"].attrs["target_stat"] == stat
        for a in range(2):
            tokens = kl[:, a].astype(float)
            every = tokens[~np.isnan(tokens)]
            expected = {
                "p95": np.quantile(every, 0.95),
                "mean": every.mean(),
                "rms": np.sqrt((every**2).mean()),
            }
            at = doses.isel(alpha=a)
            assert at["heldout_kl"] == pytest.approx(expected[stat])
            low, high = at["heldout_kl_ci"].values
            assert low < expected[stat] < high
            if stat == "p95":
                np.testing.assert_array_equal(at["heldout_kl_ci"], at["kl_p95_ci"])
                continue
            power = 1 if stat == "mean" else 2
            ratio = every_power = (every**power).mean()
            residuals = [
                np.nansum(tokens[:, i] ** power) - every_power * np.sum(~np.isnan(tokens[:, i]))
                for i in range(6)
            ]
            half = (
                scipy_t.ppf(0.975, 5) * np.sqrt(6 / 5 * np.sum(np.square(residuals))) / every.size
            )
            bounds = np.clip([ratio - half, ratio + half], 0, None) ** (1 / power)
            np.testing.assert_allclose([low, high], bounds)

    def test_cells_with_different_statistics_have_no_common_held_out_kl(self):
        kl = np.ones((2, 1, 3, 4))
        ds = with_no_questions(small_sweep(np.full((2, 1, 3, 2), 0.9), fork=[0, 4], kl=kl))
        ds = ds.assign(target_stat=("cell", ["p95", "rms"]))
        together = dose_response(ds, by=None)["heldout_kl"]
        assert together.isnull().all()
        assert together.attrs["target_stat"] == "several"
        assert (dose_response(ds, by="run_id")["heldout_kl"] == 1).all()


def with_no_questions(ds):
    """Add the variables at questions that dose_response needs, without questions."""
    shape = (*ds["pmass"].shape[:2], 0, ds.sizes["fork"])
    return ds.assign(
        p_true=(("cell", "alpha", "question", "fork"), np.zeros(shape, "float32")),
        target_kl=("cell", np.ones(ds.sizes["cell"])),
        c_star=("cell", np.full(ds.sizes["cell"], 2.0)),
    ).assign_coords(question=np.arange(0))


class TestDescription:
    def test_length_share_ended_and_at_risk_are_counted(self):
        pmass = np.full((1, 1, 5, 3), 0.9)
        pmass[0, 0, :2, 2] = NAN
        pmass[0, 0, 4, 1:] = 0.1
        ds = small_sweep(pmass, fork=[0, 8, 16], gen_len=[[[10, 12, 16, 16, 16]]])
        at = dose_response(with_no_questions(ds), by=None).isel(alpha=0).sel(LABELS)
        assert at["mean_length"] == pytest.approx(14)
        assert at["share_ended"] == pytest.approx(0.4)
        assert at["at_risk"] == 2

    def test_coefficients_are_of_the_cells_run_at_the_dose(self):
        gen_len = [[[8.0] * 2] * 2, [[8.0] * 2, [NAN] * 2]]
        ds = with_no_questions(
            small_sweep(np.full((2, 2, 2, 2), 0.9), fork=[0, 8], gen_len=gen_len)
        )
        ds = ds.assign(c_star=("cell", [2.0, -3.0])).assign_coords(alpha=[0.5, 1.0])
        doses = dose_response(ds, by=None)
        assert doses["coeff_min"].values.tolist() == [-1.5, 2.0]
        assert doses["coeff_max"].values.tolist() == [1.0, 2.0]

    def test_the_bound_at_level_90_percent_equals_that_of_safe_dose(self):
        ds = with_no_questions(small_sweep(np.full((1, 1, 24, 2), 0.9), fork=[0, 8]))
        low = dose_response(ds, by=None, level=0.9)["survival_ci"].sel(ci_bound="lower")
        np.testing.assert_allclose(low, 0.05 ** (1 / 24))
        assert isoklx.safe_dose(ds, by=None)["next_lower"].item() == pytest.approx(low.item())


class TestDoseResponse:
    def test_the_measured_sweep_agrees_with_the_oracle(self, real, oracle):
        keys = ["method", "alpha", "threshold"]
        expected = pd.read_csv(oracle / "doses.csv").set_index(keys).to_xarray()
        thresholds = expected.threshold.values
        by_method = dose_response(real, threshold=thresholds)
        pooled = dose_response(real, by=None, threshold=thresholds)
        columns = {
            "restricted_mean": "rmst_latest",
            "restricted_mean_earliest": "rmst_earliest",
            "share_above": "share_above",
            "kl_p95": "kl_p95",
            "n": "n",
            "n_distinct": "n_distinct",
        }
        labels = by_method["method"].values
        for name, column in columns.items():
            for doses, wanted in ((by_method, labels), (pooled, "all")):
                reference = expected[column].sel({"method": wanted})
                found, reference = xr.broadcast(doses[name], reference)
                np.testing.assert_allclose(found, reference.transpose(*found.dims), rtol=1e-12)

    def test_survival_equals_that_of_the_summary(self, sample_ds):
        doses = dose_response(sample_ds, threshold=[0.5, 0.75])
        rows = isoklx.survival_summary(sample_ds, threshold=[0.5, 0.75], by="method")
        keyed = rows.set_index(["threshold", "method", "alpha"])
        for name, column in (("survival", "end_survival"), ("restricted_mean", "restricted_mean")):
            found = doses[name].to_series().loc[keyed.index]
            np.testing.assert_allclose(found, keyed[column])
        bounds = doses.survival_ci.to_dataset("ci_bound").to_dataframe()
        bounds = bounds.reorder_levels(keyed.index.names).loc[keyed.index]
        np.testing.assert_allclose(bounds, keyed[["end_lower", "end_upper"]])
        areas = doses.restricted_mean_ci
        assert (areas.isel(ci_bound=0) <= doses.restricted_mean_earliest).all()
        assert (doses.restricted_mean <= areas.isel(ci_bound=1)).all()

    def test_every_number_lies_in_its_interval(self, sample_ds):
        doses = dose_response(sample_ds, by=["method", "model_short"])
        names = ("survival", "restricted_mean", "kl_p95", "share_above", "pmass", "pmass_end")
        for name in (*names, "acquiescence", "correct", "heldout_kl"):
            low, high = (doses[f"{name}_ci"].sel(ci_bound=bound) for bound in ("lower", "upper"))
            assert doses[name].notnull().all()
            assert (low <= doses[name] + 1e-12).all()
            assert (doses[name] <= high + 1e-12).all()
            assert doses[name].attrs["long_name"]

    def test_a_group_equals_a_selection_of_its_cells(self, sample_ds):
        doses = dose_response(sample_ds, by=["method", "model_short"])
        for method in doses["method"].values:
            for model in doses["model_short"].values:
                cells = (sample_ds["method"] == method) & (sample_ds["model_short"] == model)
                own = dose_response(sample_ds.isel(cell=cells.values), by=None)
                part = doses.sel({"method": method, "model_short": model}, drop=True)
                xr.testing.assert_allclose(part, own)

    def test_repetition_and_pmass_are_means_over_prompts(self, sample_ds):
        rng = np.random.default_rng(0)
        ds = sample_ds.assign(
            repetition=sample_ds.gen_len.dims
            and (sample_ds.gen_len.dims, rng.random(sample_ds.gen_len.shape))
        )
        ds = ds.isel(cell=[0])
        doses = dose_response(ds, by=None)
        for alpha in range(ds.sizes["alpha"]):
            values = ds.repetition.values[0, alpha]
            expected = clusters.share(values, np.ones(values.size), level=0.95)
            assert doses.repetition[alpha] == pytest.approx(values.mean())
            np.testing.assert_allclose(doses.repetition_ci[alpha], expected[1:])
            of_prompts = np.nanmean(ds.pmass_eval.values[0, alpha].astype(float), axis=-1)
            assert doses.pmass[alpha] == pytest.approx(of_prompts.mean())
        assert dose_response(sample_ds).repetition.isnull().all()

    def test_pmass_end_is_at_the_last_fork_of_each_trajectory(self, sample_ds):
        kept = sample_ds.isel(cell=[2], prompt=slice(3))
        pmass = kept.pmass_eval.values.copy()
        pmass[0, 3, 0, -4:] = NAN  # the rollout ended
        pmass[0, 3, 1, :] = NAN  # never probed
        ds = kept.assign(pmass_eval=(kept.pmass_eval.dims, pmass))
        found = dose_response(ds, by=None).pmass_end
        for i in range(ds.sizes["alpha"]):
            last = [row[np.isfinite(row)][-1] for row in pmass[0, i] if np.isfinite(row).any()]
            assert len(last) == (2 if i == 3 else 3)
            np.testing.assert_allclose(found[i], np.mean(last, dtype=float), rtol=1e-6)

    @pytest.mark.slow
    def test_dask_arrays_stay_lazy_and_give_equal_results(self, sample_ds):
        looks = []

        def counting(graph, keys, **options):
            looks.append(keys)
            return get_sync(graph, keys, **options)

        ds = sample_ds.load()
        large = ["kl", "pmass_eval", "pmass", "p_true", "gen_len"]
        lazy = ds.assign(ds[large].chunk(cell=2, alpha=1, prompt=3, token=20, fork=2).data_vars)
        with dask.config.set(scheduler=counting):
            doses = dose_response(lazy)
        # One computation finds the cells that have pmass.
        assert len(looks) == 1
        assert all(doses[name].chunks for name in doses)
        xr.testing.assert_allclose(doses.compute(), dose_response(ds))
