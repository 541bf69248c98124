import pytest
import xarray as xr

from isoklx import schema
from isoklx.errors import DatasetError


@pytest.mark.parametrize("name", schema.VARIABLES)
def test_every_variable_says_what_it_is(name):
    var = schema.VARIABLES[name]
    assert set(var.dims) <= set(schema.DIMS)
    assert var.attributes["long_name"]
    assert "nat" not in (var.units or "")  # UDUNITS reads nat as a pressure
    if var.dtype != "str" and "flag_values" not in var.attrs:
        assert var.units


def test_no_coordinate_has_a_fill_value():
    assert all(var.fill is None for var in schema.COORDINATES.values())


def test_ancillary_variables_exist():
    named = [var.attrs.get("ancillary_variables") for var in schema.DATA.values()]
    assert {name for name in named if name} == {"gen_len", "gen_len_qa"}
    assert {"gen_len", "gen_len_qa"} <= set(schema.DATA)


def test_a_foreign_dataset_is_told_what_it_lacks():
    with pytest.raises(DatasetError, match="not an isoklx sweep: it has no kl, c_star"):
        schema.require(xr.Dataset({"temperature": 1.0}), ["kl", "c_star"])
