import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from isoklx import schema
from isoklx.cells.reading import read_cell
from isoklx.store.dataset import assemble
from tests.handmade import NAN, kl, make_cell


@pytest.fixture
def mixed(tmp_path):
    """Two cells that differ in window, spelling of alphas, prompts and forks."""
    return [
        make_cell(
            tmp_path,
            "short",
            calib={"window": 2, "seed": 7},
            trajectory=kl({"1": [[0.1, 0.2]], "0.5": [[0.3, 0.4]]}),
            pmass={"fork_points": [0, 2], "pmass_eval": {"1": [[0.9, 0.8]]}},
            history=[{"coeff": 0.4, "kl_mean": 1, "kl_p95": 2, "kl_max": 3}],
        ),
        make_cell(
            tmp_path,
            "long",
            calib={"window": 4},
            trajectory=kl({"1.0": [[1, 2, 3, 4], [5, 6, 7]], "2.0": [[8]]}),
            pmass={"fork_points": [1, 2, 4], "pmass_eval": {"1.0": [[0.5, 0.6, 0.7]]}},
        ),
    ]


def test_labels_align_cells_of_different_shapes(mixed):
    ds = assemble([read_cell(folder) for folder in mixed]).set_xindex("run_id")
    assert_array_equal(ds.alpha, [0.5, 1.0, 2.0])
    assert_array_equal(ds.fork, [0, 1, 2, 4])
    assert ds.sizes["prompt"] == 2
    assert ds.sizes["token"] == 4
    short, long = ds.sel(run_id="short"), ds.sel(run_id="long")
    assert_array_equal(short.kl.sel(alpha=1.0, prompt=0), np.float32([0.1, 0.2, NAN, NAN]))
    assert_array_equal(long.kl.sel(alpha=1.0, prompt=1), [5, 6, 7, NAN])
    assert_array_equal(long.kl.sel(alpha=0.5), np.full((2, 4), NAN))
    assert_array_equal(short.pmass_eval.sel(alpha=1.0, prompt=0), np.float32([0.9, NAN, 0.8, NAN]))
    assert_array_equal(long.pmass_eval.sel(alpha=1.0, prompt=0), np.float32([NAN, 0.5, 0.6, 0.7]))
    assert_array_equal(short.gen_len, [[2, NAN], [2, NAN], [NAN, NAN]])
    assert_array_equal(long.gen_len, [[NAN, NAN], [4, 3], [1, NAN]])
    assert_array_equal(short.coeff, [0.75, 1.5, NAN])
    assert_array_equal(short.calib_kl_p95, [2.0])
    assert_array_equal(long.calib_kl_p95, [NAN])
    assert (int(short.seed), int(short.window), int(long.window)) == (7, 2, 4)


def test_the_order_of_cells_changes_nothing(mixed):
    cells = [read_cell(folder) for folder in mixed]
    xr.testing.assert_identical(assemble(cells), assemble(cells[::-1]))


def test_every_variable_of_the_schema_is_there_with_its_dims_and_attributes(mixed):
    ds = assemble([read_cell(folder) for folder in mixed])
    assert set(ds.variables) == set(schema.VARIABLES)
    for name, var in schema.VARIABLES.items():
        assert ds[name].dims == var.dims
        assert ds[name].attrs == var.attributes
    assert ds.kl.dtype == ds.pmass.dtype == "float32"


def test_calibrated_only_cells_have_dimensions_of_length_0(tmp_path):
    ds = assemble([read_cell(make_cell(tmp_path, name)) for name in ("a", "b")])
    assert dict(ds.sizes) == {**dict.fromkeys(schema.DIMS, 0), "cell": 2}
    assert_array_equal(ds.c_star, [1.5, 1.5])
    assert_array_equal(ds.has_kl, [0, 0])


def test_calibrated_only_cells_join_swept_cells(mixed, tmp_path):
    calibrated = read_cell(make_cell(tmp_path, "calibrated", calib={"c_star": 9.0}))
    ds = assemble([calibrated, *map(read_cell, mixed)])
    assert_array_equal(ds.run_id, ["calibrated", "long", "short"])
    assert_array_equal(ds.has_kl, [0, 1, 1])
    assert np.isnan(ds.kl[0]).all()
    assert ds.c_star[0] == 9.0


@settings(max_examples=25)
@given(data=st.data())
def test_every_value_is_found_under_its_labels_and_nothing_else(tmp_path_factory, data):
    spelling = st.sampled_from(["0", "0.0", "0.5", "1", "1.0", "2"])
    rows = st.lists(st.lists(st.floats(0, 9, width=32), max_size=4), max_size=3)
    sweep = data.draw(
        st.lists(st.dictionaries(spelling, rows, max_size=3), min_size=1, max_size=3).filter(
            lambda cells: all(len(set(map(float, cell))) == len(cell) for cell in cells)
        )
    )
    root = tmp_path_factory.mktemp("root")
    folders = [make_cell(root, f"c{i}", trajectory=kl(rows)) for i, rows in enumerate(sweep)]
    ds = assemble([read_cell(folder) for folder in folders]).set_xindex("run_id")
    count = 0
    for i, cell in enumerate(sweep):
        for key, prompts in cell.items():
            for prompt, tokens in enumerate(prompts):
                for token, value in enumerate(tokens):
                    at = {"run_id": f"c{i}", "alpha": float(key), "prompt": prompt, "token": token}
                    assert ds.kl.sel(at).item() == value
                    count += 1
    assert ds.kl.count() == count
