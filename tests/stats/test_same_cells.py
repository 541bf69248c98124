"""Matching of the cells of two sweeps."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from isoklx.errors import DatasetError, UsageError
from isoklx.stats.matching import same_cells

LABELS = {
    "model_short": "tiny",
    "model": "org/tiny",
    "method": "pca",
    "seed": 0,
    "window": 8,
    "layer": 3,
    "c_star": 1.0,
    "temperature": np.nan,
}


def sweep(*cells):
    """Build a sweep of cells from the labels in which they differ."""
    rows = [{"run_id": f"cell{i}", **LABELS, **cell} for i, cell in enumerate(cells)]
    rows = [row | {"sign": "-" if row["c_star"] < 0 else "+"} for row in rows]
    columns = {name: ("cell", [row[name] for row in rows]) for name in rows[0]} if rows else {}
    return xr.Dataset({"c_star": columns.pop("c_star")}, columns)


def found(a, b):
    return same_cells(sweep(*a), sweep(*b))


cells = st.lists(
    st.tuples(st.sampled_from("xyz"), st.integers(0, 2), st.sampled_from([8, 16])),
    unique=True,
    min_size=1,
)


@given(cells, cells)
def test_cells_with_equal_labels_match_in_any_order(a, b):
    def labelled(keys):
        return [dict(zip(("method", "seed", "window"), key, strict=True)) for key in keys]

    if not set(a) & set(b):
        with pytest.raises(UsageError, match="no cell is in both A and B"):
            found(labelled(a), labelled(b))
        return
    got = found(labelled(a), labelled(b))
    assert got.pairs == [(a.index(key), b.index(key)) for key in a if key in b]
    assert got.only_a == [a.index(key) for key in a if key not in b]
    assert got.only_b == [b.index(key) for key in b if key not in a]


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("c_star", 1.0, -2.0),
        ("layer", 3, 4),
        ("model", "a/tiny", "b/tiny"),
        ("temperature", 0.7, np.nan),
    ],
)
def test_cells_of_one_key_are_distinguished_by_further_labels(name, first, second):
    both = [{name: first}, {name: second}]
    assert found(both, both[::-1]).pairs == [(0, 1), (1, 0)]
    assert found(both, [{name: second}]) == ([(1, 0)], [0], [])
    # A single cell on each side matches in spite of the difference.
    assert found(both[:1], both[1:]).pairs == [(0, 0)]


def test_the_sign_distinguishes_cells_whose_layer_changed():
    a = [{"c_star": 1.0}, {"c_star": -1.0}]
    b = [{"c_star": -3.0, "layer": 4}, {"c_star": 3.0, "layer": 4}]
    assert found(a, b).pairs == [(0, 1), (1, 0)]


def test_two_labels_together_distinguish_cells():
    a = [{"c_star": sign, "layer": layer} for sign in (1.0, -1.0) for layer in (3, 4)]
    assert found(a, a[::-1]).pairs == [(0, 3), (1, 2), (2, 1), (3, 0)]


def test_run_id_distinguishes_cells_if_no_label_does():
    a = [{"run_id": "x"}, {"run_id": "y"}]
    assert found(a, [{"run_id": "y"}, {"run_id": "z"}]) == ([(1, 0)], [0], [1])


def test_a_model_matches_in_any_folder():
    assert found([{"model": "org/tiny"}], [{"model": "/models/tiny"}]).pairs == [(0, 0)]


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([{}], [{"window": 16}], "no cell is in both A and B: window is 8 in A and 16 in B"),
        (
            [{"method": "x"}, {"method": "y", "seed": 1}],
            [{"method": "z"}],
            "no cell is in both A and B: method is x, y in A and z in B",
        ),
        (
            [{"method": "x"}, {"method": "y", "seed": 1}],
            [{"method": "x", "seed": 1}, {"method": "y"}],
            "no cell is in both A and B: model_short, method, seed, window are tiny x 0 8, "
            "tiny y 1 8 in A and tiny x 1 8, tiny y 0 8 in B",
        ),
        (
            [{"seed": seed} for seed in range(10)],
            [{"seed": 10}],
            "no cell is in both A and B: seed is 0, 1, 2, 3, 4, 5, 6, 7 and 2 more in A and 10 "
            "in B",
        ),
    ],
)
def test_sweeps_without_common_cells_are_rejected(a, b, message):
    with pytest.raises(UsageError) as error:
        found(a, b)
    assert str(error.value) == message


def test_an_empty_sweep_and_a_plain_dataset_are_rejected():
    whole = sweep({})
    with pytest.raises(UsageError, match="A has no cells to compare"):
        same_cells(whole.isel(cell=[]), whole)
    with pytest.raises(DatasetError, match="it has no method"):
        same_cells(whole, whole.drop_vars("method"))


def test_every_cell_is_in_one_list():
    a = [{"seed": int(seed)} for seed in np.arange(5)]
    got = found(a, a[2:])
    assert sorted([*(i for i, _ in got.pairs), *got.only_a]) == list(range(5))
