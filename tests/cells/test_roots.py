from pathlib import Path

import pytest

from isoklx.cells.layout import cell_folders
from isoklx.errors import BuildError
from tests.handmade import make_cell


def names(*roots):
    return [folder.name for folder in cell_folders(roots)]


def test_cells_are_folders_sorted_by_name(tmp_path):
    for name in ("b", "a", "c"):
        make_cell(tmp_path, name)
    (tmp_path / "notes.txt").write_text("not a cell")
    assert names(tmp_path) == ["a", "b", "c"]


@pytest.mark.parametrize("name", ["_old", ".cache"])
def test_folders_with_reserved_names_are_not_cells(tmp_path, name):
    make_cell(tmp_path, name)
    make_cell(tmp_path, "a")
    assert names(tmp_path) == ["a"]


def test_a_cell_may_be_a_link_to_a_folder(tmp_path):
    folder = make_cell(tmp_path / "elsewhere", "a")
    root = tmp_path / "root"
    root.mkdir()
    (root / "linked").symlink_to(folder)
    assert names(root) == ["linked"]


def test_a_broken_link_counts_as_a_cell(tmp_path):
    make_cell(tmp_path, "a")
    (tmp_path / "lost").symlink_to(tmp_path / "gone")
    assert names(tmp_path) == ["a", "lost"]


def test_two_roots_that_share_a_run_id_are_an_error_naming_both_folders(tmp_path):
    first, second = make_cell(tmp_path / "x", "a"), make_cell(tmp_path / "y", "a")
    with pytest.raises(BuildError, match=f"have the name a: {first} and {second}"):
        names(tmp_path / "x", tmp_path / "y")


def test_an_absent_root_is_an_error(tmp_path):
    with pytest.raises(BuildError, match="folder not found"):
        names(tmp_path / "outptus")


def test_a_file_as_root_is_an_error(tmp_path):
    (tmp_path / "sweep.nc").write_text("")
    with pytest.raises(BuildError, match="not a folder of cells, but a file"):
        names(tmp_path / "sweep.nc")


def test_an_empty_root_is_an_error(tmp_path):
    with pytest.raises(BuildError, match="no cell here"):
        names(tmp_path)


def test_the_error_for_a_cell_as_root_names_its_parent(tmp_path):
    folder = make_cell(tmp_path, "a")
    with pytest.raises(BuildError, match=f"this is one cell; the runs root is {tmp_path}"):
        names(folder)


def test_the_error_for_a_folder_above_the_root_names_the_root(tmp_path):
    make_cell(tmp_path / "sweep", "a")
    with pytest.raises(BuildError, match=f"one level down, in {tmp_path / 'sweep'}"):
        names(tmp_path)


def test_an_unreadable_cell_does_not_hide_others(tmp_path, monkeypatch):
    for name in ("a", "b"):
        make_cell(tmp_path, name)
    look = Path.exists

    def exists(path):
        if path.parent.name == "a":
            raise PermissionError(13, "Permission denied")
        return look(path)

    monkeypatch.setattr(Path, "exists", exists)
    assert names(tmp_path) == ["a", "b"]


def test_an_unreadable_root_is_a_one_line_error(tmp_path, monkeypatch):
    def refuse(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "exists", refuse)
    with pytest.raises(BuildError, match="cannot be listed: Permission denied"):
        names(tmp_path / "root")
