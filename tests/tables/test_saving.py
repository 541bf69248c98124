from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from isoklx.errors import BuildError
from isoklx.tables.latex import as_latex
from isoklx.tables.saving import write_table
from isoklx.tables.table import Table, as_csv, as_markdown

TABLE = Table(pd.DataFrame({"method": ["pca", "größe"], "n": [1, 2]}), ("method",), "Two.")


def test_files_are_written_into_a_new_folder(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    assert write_table(TABLE, folder, "t") == [folder / f"t.{end}" for end in ("csv", "md", "tex")]
    assert (folder / "t.csv").read_bytes() == as_csv(TABLE).encode("utf-8")
    assert (folder / "t.md").read_bytes() == as_markdown(TABLE).encode("utf-8")
    assert (folder / "t.tex").read_bytes() == as_latex(TABLE).encode("utf-8")
    assert len(list(folder.iterdir())) == 3


def test_writing_again_replaces_the_files(tmp_path: Path) -> None:
    write_table(TABLE, tmp_path, "t")
    once = (tmp_path / "t.csv").read_bytes()
    (tmp_path / "t.csv").write_text("older and much longer " * 100)
    write_table(TABLE, tmp_path, "t")
    assert (tmp_path / "t.csv").read_bytes() == once


@pytest.mark.parametrize(
    ("place", "reason"), [("file", "File exists"), ("file/sub", "Not a directory")]
)
def test_a_file_in_place_of_the_folder_is_an_error(tmp_path: Path, place: str, reason: str) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(BuildError) as caught:
        write_table(TABLE, tmp_path / place, "t")
    assert str(caught.value) == f"{tmp_path / place}: cannot create the folder: {reason}"
    assert (tmp_path / "file").read_text() == "kept"
