import numpy as np
import pytest
from numpy.testing import assert_array_equal

from isoklx.cells.reading import read_cell
from isoklx.errors import BuildError
from isoklx.store.dataset import Alignment, measured_dtype
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


def test_doses_one_bit_apart_are_one_label_across_cells_and_files(tmp_path):
    cells = [
        read_cell(make_cell(tmp_path, "a", trajectory=kl({"0.30000000000000004": [[1]]}))),
        read_cell(
            make_cell(
                tmp_path,
                "b",
                trajectory=kl({"0.3": [[2]], "0.30000001": [[3]]}),
                pmass={"fork_points": [0], "pmass_eval": {"0.30000000000000004": [[0.5]]}},
            )
        ),
    ]
    alignment = Alignment.of(cells)
    assert alignment.labels["alpha"].tolist() == [0.3, 0.30000001]
    assert_array_equal(alignment.placed("kl", cells)[:, :, 0, 0], [[1, NAN], [2, 3]])
    assert_array_equal(alignment.placed("pmass_eval", cells)[1, :, 0, 0], [0.5, NAN])


def test_ambiguous_doses_are_refused(tmp_path):
    # Neighbours are equal doses, but the first and the last are not.
    chain = ["1", "1.0000000009", "1.0000000018", "1.0000000027"]
    cells = [
        read_cell(make_cell(tmp_path, f"c{i}", trajectory=kl({a: [[1]], b: [[2]]})))
        for i, (a, b) in enumerate([(chain[0], chain[2]), (chain[1], chain[3])])
    ]
    with pytest.raises(BuildError, match="c1: its alphas are too close to those of other cells"):
        Alignment.of(cells)


def test_flag_is_0_at_doses_that_a_cell_lacks(tmp_path):
    both = {"fork_points": [0], "pmass_eval": {"1": [[0.5], [0.5]]}}
    cells = [
        read_cell(make_cell(tmp_path, "a", trajectory=kl({"1": [[1]]}), pmass=both)),
        read_cell(make_cell(tmp_path, "b", trajectory=kl({"2": [[1]]}))),
    ]
    placed = Alignment.of(cells).placed("unpaired", cells)
    assert placed.dtype == np.int8
    assert placed.tolist() == [[1, 0], [0, 0]]
