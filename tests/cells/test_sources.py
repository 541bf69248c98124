import hashlib
import os
from pathlib import Path

import pytest

from isoklx.cells.layout import Sources, stamps
from isoklx.errors import CellError


@pytest.fixture
def sources(tmp_path):
    (tmp_path / "calib.json").write_bytes(b"{}")
    return Sources(tmp_path)


def test_an_absent_file_is_none(sources):
    sources.read("pmass.json")
    assert sources.json("pmass.json") is None


def test_the_digest_is_over_name_size_and_bytes(sources):
    sources.read("calib.json", "pmass.json")
    assert sources.digest() == hashlib.sha256(b"calib.json\0002\000{}").hexdigest()


def test_the_digest_does_not_depend_on_the_order_of_reading(sources):
    (sources.folder / "pmass.json").write_bytes(b"[]")
    other = Sources(sources.folder)
    sources.read("calib.json", "pmass.json")
    other.read("pmass.json", "calib.json")
    assert sources.digest() == other.digest()


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo], ids=["folder", "fifo"])
def test_irregular_files_are_refused_without_blocking(sources, make):
    make(sources.folder / "pmass.json")
    with pytest.raises(CellError, match="not a regular file"):
        sources.read("pmass.json")


def test_a_file_that_cannot_be_read_is_named(sources, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(CellError, match=r"calib\.json: cannot be read: Permission denied"):
        sources.read("calib.json")


def test_unchanged_files_are_settled(sources):
    sources.read("calib.json")
    sources.settle()
    assert sources.stamps == stamps(sources.folder)


@pytest.mark.parametrize("change", ["grows", "is touched", "goes", "comes"])
def test_a_file_that_changes_is_being_written(sources, change):
    sources.read("calib.json")
    path = sources.folder / "calib.json"
    if change == "grows":
        path.write_text("{} ")
    elif change == "is touched":
        os.utime(path, ns=(0, 0))
    elif change == "goes":
        path.unlink()
    else:
        (sources.folder / "history.json").write_text("[]")
    with pytest.raises(CellError, match="being written"):
        sources.settle()


def test_a_file_that_shrinks_while_it_is_read_is_being_written(sources, monkeypatch):
    whole = os.fstat

    def larger(descriptor):
        status = list(whole(descriptor))
        status[6] += 1
        return os.stat_result(status)

    monkeypatch.setattr("isoklx.cells.layout.os.fstat", larger)
    with pytest.raises(CellError, match=r"calib\.json: being written"):
        sources.read("calib.json")
