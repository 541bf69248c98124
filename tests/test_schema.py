import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import isoklx
from isoklx import schema
from isoklx.errors import DatasetError


@pytest.mark.parametrize("name", schema.VARIABLES)
def test_every_variable_says_what_it_is(name):
    var = schema.VARIABLES[name]
    assert set(var.dims) <= set(schema.DIMS)
    assert var.attributes["long_name"]
    assert "nat" not in (var.units or "")  # UDUNITS reads nat as a pressure
    measured = name in schema.DATA and var.dtype != "str" and "flag_values" not in var.attrs
    assert bool(var.units) == measured  # xarray writes a label's units at the axis


def test_no_coordinate_has_a_fill_value():
    assert all(var.fill is None for var in schema.COORDINATES.values())


def test_ancillary_variables_exist():
    named = [var.attrs.get("ancillary_variables") for var in schema.DATA.values()]
    assert {name for name in named if name} == {"gen_len", "gen_len_qa"}
    assert {"gen_len", "gen_len_qa"} <= set(schema.DATA)


def test_a_foreign_dataset_is_told_what_it_lacks():
    with pytest.raises(DatasetError, match="not an isoklx sweep: it has no kl, c_star"):
        schema.require(xr.Dataset({"temperature": 1.0}), ["kl", "c_star"])


@pytest.mark.parametrize(
    ("spoil", "lacks"),
    [
        (lambda ds: ds.mean("prompt"), "kl has no dimension prompt"),
        (lambda ds: ds.isel(prompt=0, drop=True), "kl has no dimension prompt"),
        (lambda ds: ds.assign(kl=ds.kl.max("token")), "kl has no dimension token"),
        (lambda ds: ds.rename(prompt="item"), "kl has the dimension item"),
        (lambda ds: ds.rename(kl="KL"), "it has no kl"),
        (lambda ds: ds.stack(sample=["cell", "prompt"]), "kl has the dimension sample"),
    ],
)
def test_what_fits_no_sweep_is_told_what_it_lacks(sample_ds, spoil, lacks):
    with pytest.raises(DatasetError, match=f"^not an isoklx sweep: {lacks}"):
        schema.require(spoil(sample_ds), ["kl"])


@pytest.mark.parametrize("dims", [["cell"], ["alpha"], ["prompt", "token"], list(schema.DIMS)])
def test_a_dimension_that_one_label_was_chosen_of_is_not_missed(sample_ds, dims):
    schema.require(sample_ds.isel(dict.fromkeys(dims, 0)), schema.VARIABLES)


def test_only_what_is_asked_for_has_to_be_whole(sample_ds):
    schema.require(sample_ds.assign(pmass=sample_ds.pmass.mean("question")), ["kl", "gen_len"])


finite = st.floats(allow_nan=False, allow_infinity=False)


@given(finite, finite)
def test_doses_are_the_same_within_a_billionth(a, b):
    larger = max(abs(a), abs(b))
    assert schema.same_dose(a, b) == (a == b or abs(a - b) <= 1e-9 * larger)
    assert schema.same_dose(a, b) == schema.same_dose(b, a)
    assert schema.same_dose(a, b) == schema.same_dose(np.array([a]), b).item()
    assert schema.same_dose(a, a)
    assert not schema.same_dose(a, float("nan"))
    assert not schema.same_dose(a, float("inf"))


@pytest.mark.parametrize(
    "function",
    [
        *(isoklx.plot.figure1, isoklx.plot.alive, isoklx.plot.survival, isoklx.plot.dose_response),
        *(isoklx.headline_table, isoklx.calibration_table, isoklx.survival, isoklx.safe_dose),
        *(isoklx.distinct, isoklx.repeats, isoklx.crossed),
    ],
)
def test_a_path_instead_of_a_sweep_is_answered_with_what_opens_it(function):
    with pytest.raises(
        DatasetError, match=r"expected xarray\.Dataset, got str; isoklx\.open_sweep opens"
    ):
        function("outputs.nc")
