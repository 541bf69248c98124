import numpy as np
from numpy.testing import assert_array_equal

from isoklx.cells.cell import read_cell
from isoklx.store.alignment import Alignment, measured_dtype
from tests.handmade import NAN, kl, make_cell


def test_labels_are_the_ascending_union_in_the_dtype_of_the_schema(tmp_path):
    cells = [
        read_cell(
            make_cell(tmp_path, "a", trajectory=kl({"2": [[1]]}), pmass={"fork_points": [3]})
        ),
        read_cell(make_cell(tmp_path, "b", trajectory=kl({"0.5": [[1, 2], [3]]}))),
        read_cell(make_cell(tmp_path, "c", pmass={"fork_points": [0, 3]})),
    ]
    labels = Alignment.of(cells).labels
    assert {dim: values.tolist() for dim, values in labels.items()} == {
        "alpha": [0.5, 2.0],
        "prompt": [0, 1],
        "token": [0, 1],
        "fork": [0, 3],
        "question": [],
        "iteration": [],
    }
    assert {dim: str(values.dtype) for dim, values in labels.items()} == {
        dim: "float64" if dim == "alpha" else "int32" for dim in labels
    }


def test_values_are_placed_at_their_own_labels(tmp_path):
    cells = [
        read_cell(make_cell(tmp_path, "a", trajectory=kl({"2": [[1]]}))),
        read_cell(make_cell(tmp_path, "b", trajectory=kl({"1": [[2, 3]]}))),
    ]
    placed = Alignment.of(cells).placed("kl", cells)
    assert_array_equal(placed[:, :, 0], [[[NAN, NAN], [1, NAN]], [[2, 3], [NAN, NAN]]])
    assert_array_equal(Alignment.of(cells).placed("gen_len", cells)[..., 0], [[-1, 1], [2, -1]])


def test_one_wide_cell_makes_the_measured_arrays_wide(tmp_path):
    narrow = read_cell(make_cell(tmp_path, "a"))
    wide = read_cell(make_cell(tmp_path, "b"), dtype="float64")
    assert measured_dtype([narrow, narrow]) == "float32"
    assert measured_dtype([narrow, wide]) == "float64"
    assert Alignment.of([narrow, wide]).placed("kl", [narrow, wide]).dtype == np.float64
