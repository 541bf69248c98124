from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from isoklx.errors import BuildError
from isoklx.system.atomic import replacing, workspace


def write(path: Path, text: str) -> None:
    with replacing(path) as partial:
        partial.write_text(text)


def test_the_old_file_stays_until_the_new_one_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("old")
    with replacing(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("error", "seen"),
    [(OSError(28, "No space left"), BuildError), (KeyboardInterrupt(), KeyboardInterrupt)],
)
def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: BaseException, seen: type[BaseException]
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as partial:
            partial.write_text("half")
            raise error

    with pytest.raises(seen):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("folder", "Is a directory"),
        ("absent/a.csv", "No such file or directory"),
        ("file/a.csv", "Not a directory"),
        ("n" * 250, "File name too long"),
    ],
)
def test_a_failed_write_is_a_one_line_error_with_the_path(
    tmp_path: Path, place: str, reason: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(BuildError) as caught:
        write(tmp_path / place, "new")
    assert str(caught.value) == f"{tmp_path / place}: cannot be written: {reason}"
    assert {path.name for path in tmp_path.iterdir()} == {"folder", "file"}


@pytest.fixture
def link(tmp_path: Path) -> Path:
    """Create a relative symbolic link to a file in another folder."""
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    link = tmp_path / "here" / "a.csv"
    link.symlink_to("../there/b.csv")
    return link


@pytest.mark.parametrize("old", ["old", None], ids=["to a file", "to nothing yet"])
def test_a_symbolic_link_stays_and_its_target_is_replaced(
    link: Path, tmp_path: Path, old: str | None
) -> None:
    target = tmp_path / "there" / "b.csv"
    if old is not None:
        target.write_text(old)
    with replacing(link) as partial:
        partial.write_text("new")
        assert partial.parents[1] == target.parent  # so that the replacement is one step
        assert target.exists() == (old is not None)
    assert link.is_symlink()
    assert not target.is_symlink()
    assert target.read_text() == "new"
    assert sorted(tmp_path.glob("*/*")) == [link, target]


def test_a_failure_behind_a_symbolic_link_names_the_link_and_leaves_the_old_file(
    link: Path, tmp_path: Path
) -> None:
    def fail() -> None:
        with replacing(link):
            raise OSError(28, "No space left")

    (tmp_path / "there" / "b.csv").write_text("old")
    with pytest.raises(BuildError, match=r"here/a\.csv: cannot be written: No space left"):
        fail()
    assert link.read_text() == "old"
    assert len([*tmp_path.glob("*/*")]) == 2


def test_circular_links_are_a_one_line_error(tmp_path: Path) -> None:
    (tmp_path / "a.csv").symlink_to("b.csv")
    (tmp_path / "b.csv").symlink_to("a.csv")
    with pytest.raises(BuildError, match=r"a\.csv: cannot be written: Too many levels"):
        write(tmp_path / "a.csv", "new")
    assert {path.name for path in tmp_path.iterdir()} == {"a.csv", "b.csv"}


@pytest.mark.parametrize("linked", [False, True])
def test_a_folder_is_replaced_as_a_whole(tmp_path: Path, linked: bool) -> None:
    target = tmp_path / "store"
    path = tmp_path / "link" if linked else target
    if linked:
        path.symlink_to("store")
    target.mkdir()
    (target / "old").touch()
    with replacing(path) as partial:
        partial.mkdir()
        (partial / "new").touch()
        assert [each.name for each in target.iterdir()] == ["old"]
    assert [each.name for each in target.iterdir()] == ["new"]
    assert path.is_symlink() == linked
    assert len([*tmp_path.iterdir()]) == 1 + linked


def abandoned(path: Path) -> Path:
    """Create the workspace that a process leaves behind when killed while preparing `path`."""
    folder = path.with_name(f".{path.name}.0123abcd.partial")
    folder.mkdir()
    for name in ("lock", "partial"):
        (folder / name).touch()
    return folder


def test_a_workspace_is_beside_the_file_and_removed_afterwards(tmp_path: Path) -> None:
    with workspace(tmp_path / "a.nc") as folder:
        assert folder.parent == tmp_path
        assert folder.name.startswith(".a.nc.")
        (folder / "spool").mkdir()
        (folder / "spool" / "1").touch()
    assert list(tmp_path.iterdir()) == []


def test_workspaces_of_killed_processes_are_removed(tmp_path: Path) -> None:
    abandoned(tmp_path / "a.nc")
    before_its_lock = tmp_path / ".a.nc.89abcdef.partial"
    before_its_lock.mkdir()
    while_tidying = tmp_path / ".a.nc.456789ab.partial"
    while_tidying.mkdir()
    (while_tidying / "partial").touch()
    write(tmp_path / "a.nc", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.nc"]


def test_workspaces_of_running_processes_are_kept(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.nc") as partial:
        partial.write_text("slow")
        write(tmp_path / "a.nc", "fast")
        assert (tmp_path / "a.nc").read_text() == "fast"
    assert (tmp_path / "a.nc").read_text() == "slow"
    assert [path.name for path in tmp_path.iterdir()] == ["a.nc"]


def test_no_other_folders_are_removed(tmp_path: Path) -> None:
    kept = {abandoned(tmp_path / "b.nc"), tmp_path / ".a.nc.0123abcd.partial"}
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "lock").touch()
    (tmp_path / ".a.nc.0123abcd.partial").symlink_to("elsewhere")
    write(tmp_path / "a.nc", "new")
    assert kept < set(tmp_path.iterdir())
    assert (tmp_path / "elsewhere" / "lock").exists()


def test_abandoned_workspaces_stay_without_file_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    litter = abandoned(tmp_path / "a.nc")
    write(tmp_path / "a.nc", "new")
    assert set(tmp_path.iterdir()) == {litter, tmp_path / "a.nc"}


def test_a_workspace_removed_before_locking_is_created_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, taken = os.open, []

    def late(path: Path, flags: int, **of: Any) -> int:
        if not taken:
            taken.append(path.parent)
            path.parent.rmdir()
        return lock(path, flags, **of)

    monkeypatch.setattr("isoklx.system.atomic.os.open", late)
    with workspace(tmp_path / "a.nc") as folder:
        assert folder != taken[0]
        assert folder.is_dir()


def test_the_reason_is_found_where_libnetcdf_gives_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        with replacing(tmp_path / "a.nc"):
            raise RuntimeError("NetCDF: HDF error")

    with pytest.raises(BuildError, match=r"a\.nc: cannot be written: NetCDF: HDF error$"):
        fail()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(BuildError, match=r"a\.nc: cannot be written: No space left on device$"):
        fail()


def test_an_interrupted_cleanup_leaves_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tidy, interrupted = shutil.rmtree, []

    def interrupt(*words: Any, **flags: Any) -> None:
        if not interrupted:
            interrupted.append(True)
            raise KeyboardInterrupt
        tidy(*words, **flags)

    monkeypatch.setattr("isoklx.system.atomic.shutil.rmtree", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "a.nc", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.nc"]
