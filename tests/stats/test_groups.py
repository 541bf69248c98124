import numpy as np
import pytest
import xarray as xr

from isoklx.errors import UsageError
from isoklx.stats.groups import group_cells


@pytest.fixture
def cells():
    return xr.Dataset(
        coords={
            "method": ("cell", ["b", "a", "b", "c"]),
            "model_short": ("cell", ["x", "x", "y", "z"]),
            "rank": ("cell", [0.5, 2.0, 0.5, np.nan]),
        }
    )


ALL = np.ones(4, dtype=bool)


def test_by_default_all_cells_are_one_group(cells):
    groups = group_cells(cells, None, ALL)
    assert (groups.labels, groups.shape, groups.code.values.tolist()) == ({}, (), [0] * 4)


def test_each_label_is_a_dimension(cells):
    groups = group_cells(cells, ["method", "model_short"], ALL)
    assert {name: label.values.tolist() for name, label in groups.labels.items()} == {
        "method": ["a", "b", "c"],
        "model_short": ["x", "y", "z"],
    }
    assert groups.shape == (3, 3)
    assert groups.code.values.tolist() == [3, 0, 4, 8]


def test_cells_that_are_not_present_form_no_group(cells):
    groups = group_cells(cells, "method", np.array([True, True, True, False]))
    assert groups.labels["method"].values.tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ("metod", "label not found; available: method, model_short, rank"),
        (["method", "alpha"], "cannot group by 'alpha'"),
        (["method", "method"], "labels in by must be unique, got method,method"),
    ],
)
def test_unknown_labels_are_rejected(cells, by, message):
    with pytest.raises(UsageError, match=message):
        group_cells(cells, by, ALL)


def test_an_assigned_label_forms_groups(cells):
    groups = group_cells(cells, "rank", ALL)
    np.testing.assert_array_equal(groups.labels["rank"].values, [0.5, 2, np.nan])
    assert groups.code.values.tolist() == [0, 1, 0, 2]


def test_labels_of_several_types_are_rejected(cells):
    mixed = cells.assign_coords(mixed=("cell", np.array([1, "a", None, 2], dtype=object)))
    with pytest.raises(UsageError, match="cannot group by 'mixed': its labels are of several"):
        group_cells(mixed, "mixed", ALL)
