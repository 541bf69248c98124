import pytest

from isoklx.cells import Choice
from isoklx.errors import BuildError
from isoklx.reading import read_roots
from tests.handmade import make_cell


def test_a_broken_cell_is_skipped_and_the_others_are_read(tmp_path):
    make_cell(tmp_path, "a")
    make_cell(tmp_path, "b", trajectory="{")
    (tmp_path / "c").mkdir()
    make_cell(tmp_path, "d")
    reading = read_roots([tmp_path])
    assert [cell.folder.name for cell in reading.cells] == ["a", "d"]
    assert [(error.folder.name, error.file) for error in reading.skipped] == [
        ("b", "trajectory.json"),
        ("c", "calib.json"),
    ]


def test_no_readable_cell_is_an_error_with_the_first_reason(tmp_path):
    make_cell(tmp_path, "a", pmass="[")
    with pytest.raises(BuildError, match=r"none of 1 cells can be read; .*pmass\.json: .*EOF"):
        read_roots([tmp_path])


def test_cells_are_chosen_by_window_and_model(tmp_path):
    make_cell(tmp_path, "a", calib={"window": 4})
    make_cell(tmp_path, "b", calib={"window": 8, "model": "org/large"})
    assert len(read_roots([tmp_path], choice=Choice(window=8)).cells) == 1
    assert len(read_roots([tmp_path], choice=Choice(model_contains="org")).cells) == 2
    assert read_roots([tmp_path], choice=Choice(model_contains="tiny")).cells[0].folder.name == "a"


def test_a_choice_that_leaves_nothing_says_what_there_is(tmp_path):
    make_cell(tmp_path, "a")
    with pytest.raises(BuildError, match="no cell with window 8; there is org/tiny at window 4"):
        read_roots([tmp_path], choice=Choice(window=8))
    with pytest.raises(BuildError, match="no cell with a model containing 'huge'; there is org"):
        read_roots([tmp_path], choice=Choice(model_contains="huge"))
