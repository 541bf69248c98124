import pytest

from isoklx.store.dataset import blocks, chunk_shape


@pytest.mark.parametrize(
    ("shape", "chunks"),
    [
        ((9, 5, 8, 512), (4, 1, 8, 512)),
        ((9, 8, 32, 4096), (1, 1, 32, 4096)),
        ((2, 0, 0, 0), (2, 1, 1, 1)),
    ],
)
def test_a_chunk_is_one_dose_of_whole_trajectories(shape, chunks):
    assert chunk_shape(shape, 4, 64 * 2**10) == chunks


@pytest.mark.parametrize("length", [1, 2, 3, 9])
def test_blocks_are_all_cells_once_and_start_where_chunks_do(length):
    found = list(blocks("abcdefg", length))
    assert "".join(block for _, block in found) == "abcdefg"
    assert [start for start, _ in found] == list(range(0, 7, length))
