import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import isoklx
from isoklx import schema
from isoklx.errors import DatasetError, UsageError
from isoklx.stats.selection import restore_dims, select, select_alphas
from tests.small_sweeps import small_sweep

RUN_ID = "simulated-1B_pca_s0_w64"


@pytest.fixture
def own(sample_ds):
    """A sweep with labels that a user assigned."""
    n = sample_ds.sizes["cell"]
    return sample_ds.assign_coords(
        family=("cell", ["old", "new"] * (n // 2)), strength=("cell", np.arange(n) / 10)
    )


def test_sel_by_method_returns_everything_and_select_does_not(sample_ds):
    assert sample_ds.sel(method="pca").sizes == sample_ds.sizes  # the pitfall
    assert set(select(sample_ds, method="pca").method.values) == {"pca"}


def test_selected_cells_have_every_label(sample_ds):
    chosen = select(sample_ds, method=["pca", "mean_diff"], seed=0, model_short="simulated-8B")
    expected = sample_ds.query(
        cell="method in ['pca', 'mean_diff'] and seed == 0 and model_short == 'simulated-8B'"
    )
    xr.testing.assert_identical(chosen, expected)


def test_one_value_of_an_index_drops_its_dimension_as_sel_does(sample_ds):
    xr.testing.assert_identical(select(sample_ds, alpha=1), sample_ds.sel(alpha=1.0))
    xr.testing.assert_identical(select(sample_ds, run_id=RUN_ID), sample_ds.sel(run_id=RUN_ID))
    assert select(sample_ds, method="pca", run_id=RUN_ID).kl.dims == ("alpha", "prompt", "token")


def test_a_label_without_an_index_keeps_its_dimension(sample_ds):
    chosen = select(sample_ds, model_short="simulated-1B", method="pca", seed=0)
    assert chosen.run_id.values.tolist() == [RUN_ID]


def test_several_values_of_an_index_keep_their_order_and_are_unique(sample_ds):
    assert select(sample_ds, alpha=[2, 0.25, 2.0]).alpha.values.tolist() == [2, 0.25]
    names = sample_ds.run_id.values[[3, 1]]
    assert select(sample_ds, run_id=names).run_id.values.tolist() == names.tolist()
    kept = select(sample_ds, method=["pca", "mean_diff"])
    assert kept.run_id.values.tolist() == sorted(kept.run_id.values)


def test_a_slice_includes_both_ends(sample_ds):
    chosen = select(sample_ds, token=slice(3, 5), alpha=slice(0.1 + 0.2 - 0.05, None))
    assert chosen.token.values.tolist() == [3, 4, 5]
    assert chosen.alpha.values.min() == 0.25


def test_assigned_labels_can_be_selected(own):
    assert set(select(own, family="new").family.values) == {"new"}
    assert select(own, strength=[0.1 + 0.2]).strength.values.tolist() == [0.3]


def test_results_can_be_selected_from(sample_ds):
    curves = isoklx.survival(sample_ds, by="method", threshold=[0.5, 0.75])
    chosen = select(curves, method="pca", threshold=0.75, ci_bound="lower")
    assert chosen.survival.dims == ("alpha", "fork")
    xr.testing.assert_identical(
        chosen.survival.drop_vars("ci_bound"),
        curves.survival.loc[{"method": "pca", "threshold": 0.75}],
    )


def test_an_array_can_be_selected_from(sample_ds):
    xr.testing.assert_identical(
        select(sample_ds.kl, method="pca", alpha=2), select(sample_ds, method="pca", alpha=2).kl
    )


def test_labels_of_a_single_cell_can_be_selected(sample_ds):
    one = sample_ds.sel(run_id=RUN_ID, alpha=1.0)
    xr.testing.assert_identical(select(one, method="pca", alpha=1), one)
    with pytest.raises(UsageError, match=r"^method 'x' not found; available: pca$"):
        select(one, method="x")


def test_lazy_arrays_stay_lazy(sample):
    def explode(block):
        raise AssertionError("computed")

    ds = isoklx.open_sweep(sample, chunks={})
    ds["kl"] = ds.kl.copy(data=ds.kl.data.map_blocks(explode, dtype=ds.kl.dtype, meta=ds.kl.data))
    chosen = select(ds, method="pca", alpha=[1, 2], token=slice(0, 9))
    assert chosen.kl.chunks is not None
    assert chosen.kl.shape[-1] == 10


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            {"metod": "pca"},
            "label 'metod' not found; available: alpha, prompt, token, fork, .*method",
        ),
        (
            {"method": "pcb"},
            "method 'pcb' not found; available: directional_ablation, mean_diff, pca",
        ),
        ({"seed": [0, 7, 9]}, "seed 7, 9 not found; available: 0, 1"),
        ({"seed": "0"}, "seed '0' not found; available: 0, 1"),
        ({"alpha": [1, 0.3, float("nan")]}, "alpha 0.3, nan not found; available: 0, 0.25, .*"),
        ({"alpha": slice(9, None)}, "alpha from 9 to None not found; available: 0, 0.25, .*"),
        ({"seed": []}, r"seed \[\] not found; available: 0, 1"),
        ({"token": slice(0, 8, 2)}, "token must be a slice without a step, got slice"),
        (
            {"token": slice("a", 8)},
            "token cannot be compared with .*; available: 0, 1, 2, .* and 40 more",
        ),
        (
            {"run_id": [RUN_ID], "method": "mean_diff"},
            f"run_id '{RUN_ID}' with method 'mean_diff' not found; available: simulated-1B_m",
        ),
    ],
)
def test_a_value_not_found_is_an_error_that_lists_the_available_ones(sample_ds, labels, message):
    with pytest.raises(UsageError, match=f"^{message}"):
        select(sample_ds, **labels)


def test_a_value_not_found_with_other_labels_is_an_error_that_names_them():
    ds = small_sweep(np.ones((3, 1, 1, 1)), fork=[4], method=["a", "a", "b"], seed=[0, 1, 0])
    assert select(ds, method=["a", "b"], seed=[0, 1]).sizes["cell"] == 3
    with pytest.raises(UsageError, match=r"^seed 1 with method 'b' not found; available: 0$"):
        select(ds, method="b", seed=[0, 1])


@given(st.data())
def test_selection_equals_that_of_a_plain_loop(data):
    n = data.draw(st.integers(1, 6))
    methods = data.draw(st.lists(st.sampled_from("abc"), min_size=n, max_size=n))
    seeds = data.draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    ds = small_sweep(np.ones((n, 1, 1, 1)), fork=[4], method=methods, seed=seeds)
    some_methods = data.draw(st.lists(st.sampled_from("abc"), min_size=1, unique=True))
    some_seeds = data.draw(st.lists(st.integers(0, 2), min_size=1, unique=True))
    expected = [
        f"cell{i}" for i in range(n) if methods[i] in some_methods and seeds[i] in some_seeds
    ]
    found = [int(name[4:]) for name in expected]
    if {methods[i] for i in found} == set(some_methods) and {seeds[i] for i in found} == set(
        some_seeds
    ):
        assert select(ds, method=some_methods, seed=some_seeds).run_id.values.tolist() == expected
    else:
        with pytest.raises(UsageError, match="available: "):
            select(ds, method=some_methods, seed=some_seeds)


def test_alphas_are_selected_in_the_given_order(sample_ds):
    assert select_alphas(sample_ds, [2, 0.25]).alpha.values.tolist() == [2, 0.25]
    assert select_alphas(sample_ds, 2).alpha.values.tolist() == [2]


def test_an_alpha_with_a_rounding_error_is_found(sample_ds):
    assert select_alphas(sample_ds, [0.1 + 0.2 - 0.05]).alpha.values.tolist() == [0.25]


def test_an_unknown_alpha_is_an_error_that_lists_the_available_ones(sample_ds):
    known = ", ".join(f"{alpha:g}" for alpha in sample_ds.alpha.values)
    with pytest.raises(UsageError, match=f"^alpha 0.3, 7 not found; available: {known}$"):
        select_alphas(sample_ds, [0.3, 1, 7])


def test_a_sweep_without_alphas_is_rejected(sample_ds):
    with pytest.raises(UsageError, match="available: none"):
        select_alphas(sample_ds.isel(alpha=[]), [1])


def test_a_dataset_without_alpha_is_rejected():
    with pytest.raises(DatasetError, match="it has no alpha"):
        select_alphas(xr.Dataset(), [1])


@pytest.mark.parametrize("dims", [["cell"], ["alpha"], ["cell", "alpha", "prompt", "fork"]])
def test_dropped_dimensions_are_restored(sample_ds, dims):
    whole = restore_dims(sample_ds.isel(dict.fromkeys(dims, 1)))
    for name in sample_ds.variables:
        assert whole[name].dims == schema.VARIABLES[name].dims, name
    xr.testing.assert_equal(
        whole.drop_vars("run_id"), sample_ds.isel({dim: [1] for dim in dims}).drop_vars("run_id")
    )


def test_assigned_labels_of_a_single_cell_are_restored(own):
    assert restore_dims(own.isel(cell=3)).strength.dims == ("cell",)
    assert restore_dims(own.isel(alpha=3)).strength.dims == ("cell",)


def test_restored_dimensions_have_the_order_of_the_schema(sample_ds):
    turned = sample_ds.transpose(*reversed(schema.DIMS))
    xr.testing.assert_identical(restore_dims(turned), sample_ds)


def test_variables_that_do_not_fit_the_schema_stay_unchanged(sample_ds):
    averaged = sample_ds.mean("prompt", keep_attrs=True)
    xr.testing.assert_identical(restore_dims(averaged), averaged)


def test_a_whole_sweep_stays_unchanged(sample_ds):
    xr.testing.assert_identical(restore_dims(sample_ds), sample_ds)
    assert np.shares_memory(restore_dims(sample_ds).kl.values, sample_ds.kl.values)
