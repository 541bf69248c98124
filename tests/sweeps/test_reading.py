import errno
import os

import pytest

from isoklx.cells.reading import Choice
from isoklx.errors import BuildError
from isoklx.sweeps.reading import read_roots
from tests.handmade import kl, make_cell, write


@pytest.fixture
def read(tmp_path_factory):
    spool = tmp_path_factory.mktemp("spool")
    return lambda root, **options: read_roots([root], spool, **options)


def test_a_broken_cell_is_skipped_and_the_others_are_read(tmp_path, read):
    make_cell(tmp_path, "a")
    make_cell(tmp_path, "b", trajectory="{")
    (tmp_path / "c").mkdir()
    make_cell(tmp_path, "d")
    reading = read(tmp_path)
    assert [cell.folder.name for cell in reading.cells] == ["a", "d"]
    assert [(error.folder.name, error.file) for error in reading.skipped] == [
        ("b", "trajectory.json"),
        ("c", "calib.json"),
    ]


def test_no_readable_cell_is_an_error_with_the_first_reason(tmp_path, read):
    make_cell(tmp_path, "a", pmass="[")
    with pytest.raises(BuildError, match=r"none of 1 cells can be read; .*pmass\.json: .*EOF"):
        read(tmp_path)


def test_cells_are_chosen_by_window_and_model(tmp_path, read):
    make_cell(tmp_path, "a", calib={"window": 4})
    make_cell(tmp_path, "b", calib={"window": 8, "model": "org/large"})
    assert len(read(tmp_path, choice=Choice(window=8)).cells) == 1
    assert len(read(tmp_path, choice=Choice(model_contains="org")).cells) == 2
    assert read(tmp_path, choice=Choice(model_contains="tiny")).cells[0].folder.name == "a"


def test_an_empty_choice_lists_the_available_cells(tmp_path, read):
    make_cell(tmp_path, "a")
    with pytest.raises(BuildError, match="no cell with window 8; available: org/tiny at window 4"):
        read(tmp_path, choice=Choice(window=8))
    with pytest.raises(BuildError, match="no cell with a model containing 'huge'; available: org"):
        read(tmp_path, choice=Choice(model_contains="huge"))


@pytest.fixture
def three(tmp_path):
    for name in ("a", "b", "c"):
        make_cell(tmp_path, name, trajectory=kl({"1": [[0.5, 0.25]]}))
    return tmp_path


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_any_number_of_processes_reads_the_same(three, read, jobs):
    make_cell(three, "d", pmass="[")
    reading = read(three, jobs=jobs)
    assert [cell.folder.name for cell in reading.cells] == ["a", "b", "c"]
    assert [cell.data["kl"].tolist() for cell in reading.cells] == 3 * [[[[0.5, 0.25]]]]
    assert [error.file for error in reading.skipped] == ["pmass.json"]


def test_a_known_cell_with_the_same_stamps_is_not_opened(three, read, monkeypatch):
    known = {cell.folder.name: cell for cell in read(three).cells}
    monkeypatch.setattr("isoklx.sweeps.workers.read_cell", None)
    assert read(three, known=known).reused == {"a": False, "b": False, "c": False}


def test_a_known_cell_with_new_stamps_is_compared_and_not_parsed(three, read, monkeypatch):
    known = {cell.folder.name: cell for cell in read(three).cells}
    later = 10**18 * 2
    os.utime(three / "b" / "trajectory.json", ns=(later, later))
    monkeypatch.setattr("isoklx.cells.reading.Contents", None)
    reading = read(three, known=known)
    assert reading.reused == {"a": False, "b": True, "c": False}
    assert reading.cells[1].stamps["trajectory.json"][1] == later


def test_a_known_cell_with_a_newer_calibration_is_parsed(three, read):
    known = {cell.folder.name: cell for cell in read(three).cells}
    os.utime(three / "b" / "trajectory.json", ns=(1, 1))
    reading = read(three, known=known)
    assert set(reading.reused) == {"a", "c"}
    assert reading.cells[1].data["calib_newer"]
    [note] = reading.cells[1].notes
    assert note.startswith("calib.json: newer than the results")


def test_a_known_cell_with_changed_content_is_parsed(three, read):
    known = {cell.folder.name: cell for cell in read(three).cells}
    write(three / "b" / "trajectory.json", kl({"1": [[0.125]]}))
    reading = read(three, known=known)
    assert set(reading.reused) == {"a", "c"}
    assert reading.cells[1].data["kl"].tolist() == [[[0.125]]]


def test_a_known_cell_is_subject_to_the_choice(three, read):
    known = {cell.folder.name: cell for cell in read(three).cells}
    with pytest.raises(BuildError, match="no cell with window 8; available: org/tiny at window 4"):
        read(three, known=known, choice=Choice(window=8))


def test_a_full_spool_ends_the_build(three, read, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("isoklx.sweeps.workers.spooled", full)
    with pytest.raises(BuildError, match="cannot be written: No space left on device"):
        read(three)
