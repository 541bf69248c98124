from __future__ import annotations

from pathlib import Path

import pytest

from isoklx.atomic import replacing
from isoklx.errors import BuildError


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
def test_what_cannot_be_written_is_one_line_that_names_it(
    tmp_path: Path, place: str, reason: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(BuildError) as caught:
        write(tmp_path / place, "new")
    assert str(caught.value) == f"{tmp_path / place}: cannot be written: {reason}"
    assert {path.name for path in tmp_path.iterdir()} == {"folder", "file"}
