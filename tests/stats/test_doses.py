from __future__ import annotations

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from dask.local import get_sync
from scipy.stats import ttest_1samp

import isoklx
from isoklx.stats.doses import dose_response
from isoklx.stats.kernels import clusters

NAN = np.nan


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

    def test_survival_is_that_of_the_summary(self, sample_ds):
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
        for name in (*names, "effect"):
            low, high = (doses[f"{name}_ci"].sel(ci_bound=bound) for bound in ("lower", "upper"))
            assert doses[name].notnull().all()
            assert (low <= doses[name] + 1e-12).all()
            assert (doses[name] <= high + 1e-12).all()
            assert doses[name].attrs["long_name"]

    def test_a_group_is_what_its_own_cells_are(self, sample_ds):
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

    def test_the_end_is_the_last_fork_at_which_each_trajectory_was_asked(self, sample_ds):
        kept = sample_ds.isel(cell=[2], prompt=slice(3))
        pmass = kept.pmass_eval.values.copy()
        pmass[0, 3, 0, -4:] = NAN  # its rollout ended
        pmass[0, 3, 1, :] = NAN  # it was never asked
        ds = kept.assign(pmass_eval=(kept.pmass_eval.dims, pmass))
        found = dose_response(ds, by=None).pmass_end
        for i in range(ds.sizes["alpha"]):
            last = [row[np.isfinite(row)][-1] for row in pmass[0, i] if np.isfinite(row).any()]
            assert len(last) == (2 if i == 3 else 3)
            np.testing.assert_allclose(found[i], np.mean(last, dtype=float), rtol=1e-6)

    def test_the_effect_is_against_the_smallest_dose_question_by_question(self, sample_ds):
        ds = sample_ds.isel(cell=[0])
        doses = dose_response(ds, by=None)
        difference = (ds.p_true - ds.p_true.sel(alpha=0)).mean("fork").squeeze("cell")
        assert (doses.effect_ci.sel(alpha=0) == 0).all()
        for alpha in ds.alpha.values[1:]:
            values = difference.sel(alpha=alpha).dropna("question").values
            assert doses.effect.sel(alpha=alpha) == pytest.approx(values.mean(), abs=1e-6)
            expected = ttest_1samp(values.astype(float), 0).confidence_interval(0.95)
            np.testing.assert_allclose(doses.effect_ci.sel(alpha=alpha), expected, atol=1e-5)
        without_zero = dose_response(ds.isel(alpha=slice(1, None)), by=None)
        assert (without_zero.effect[0], without_zero.effect[1] == 0) == (0, False)

    @pytest.mark.slow
    def test_dask_is_computed_when_asked_and_gives_the_same(self, sample_ds):
        looks = []

        def counting(graph, keys, **options):
            looks.append(keys)
            return get_sync(graph, keys, **options)

        ds = sample_ds.load()
        large = ["kl", "pmass_eval", "pmass", "p_true", "gen_len"]
        lazy = ds.assign(ds[large].chunk(cell=2, alpha=1, prompt=3, token=20, fork=2).data_vars)
        with dask.config.set(scheduler=counting):
            doses = dose_response(lazy)
        # One to see which cells have pmass.
        assert len(looks) == 1
        assert all(doses[name].chunks for name in doses)
        xr.testing.assert_allclose(doses.compute(), dose_response(ds))
