import pickle

from numpy.testing import assert_array_equal

from isoklx.cells.reading import read_cell
from isoklx.store.arrays_on_disk import spooled


def test_spooled_cells_are_unchanged(sample, tmp_path):
    cells = [read_cell(folder) for folder in sorted(sample.iterdir())[:3]]
    waiting = [spooled(cell, tmp_path / "spool") for cell in cells]
    for before, after in zip(cells, waiting, strict=True):
        assert set(after.data) == set(before.data)
        assert len(after.data) == len(before.data)
        for name, values in before.data.items():
            assert_array_equal(after.data[name], values)


def test_large_arrays_are_not_in_memory(sample, tmp_path):
    cell = read_cell(sorted(sample.iterdir())[0])
    waiting = spooled(cell, tmp_path / "spool")
    assert len(pickle.dumps(waiting)) < cell.data["kl"].nbytes < (tmp_path / "spool").stat().st_size
