import netCDF4
import pytest

import isoklx
from isoklx.errors import BuildError, UsageError
from tests.handmade import kl, make_cell


@pytest.fixture
def root(tmp_path):
    make_cell(tmp_path / "runs", "a", trajectory=kl({"1": [[1, 2]]}))
    make_cell(tmp_path / "runs", "b", calib={"window": 8}, trajectory={})
    return tmp_path / "runs"


def stored(path):
    with netCDF4.Dataset(path) as file:
        return list(file["run_id"][:])


def test_the_file_stands_beside_the_root_by_default(root):
    report = isoklx.build(root)
    assert report.out == root.parent / "runs.nc"
    assert stored(report.out) == ["a", "b"]


def test_a_root_with_a_dot_in_its_name_keeps_its_name(tmp_path):
    make_cell(tmp_path / "sweep.v1", "a")
    assert isoklx.build(tmp_path / "sweep.v1").out.name == "sweep.v1.nc"


def test_several_roots_become_one_file(root, tmp_path):
    make_cell(tmp_path / "more", "c")
    report = isoklx.build([root, tmp_path / "more"], tmp_path / "all.nc")
    assert report.read == ("a", "b", "c")
    assert stored(report.out) == ["a", "b", "c"]


def test_the_report_says_what_was_read_skipped_and_noted(root, tmp_path):
    make_cell(root, "c", pmass="[1")
    report = isoklx.build(root)
    text = str(report)
    assert report.read == ("a", "b")
    assert [error.folder.name for error in report.skipped] == ["c"]
    assert "read 2 cells\n" in text
    assert f"note: {root}/b/trajectory.json: stale, it has no per_prompt_per_t_kl\n" in text
    assert f"skipped: {root}/c/pmass.json: not JSON, or half written" in text
    assert f"wrote {tmp_path}/runs.nc (0." in text


def test_strict_writes_nothing_when_a_cell_is_skipped(root, tmp_path):
    make_cell(root, "c", pmass="[1")
    (tmp_path / "runs.nc").write_text("what was there before")
    with pytest.raises(
        BuildError, match=r"nothing written: 1 cell cannot be read: .*c/pmass\.json"
    ):
        isoklx.build(root, strict=True)
    assert (tmp_path / "runs.nc").read_text() == "what was there before"


def test_strict_builds_when_every_cell_can_be_read(root):
    assert isoklx.build(root, strict=True).skipped == ()


def test_filters_choose_the_cells(root):
    assert isoklx.build(root, window=8).read == ("b",)
    assert isoklx.build(root, model_contains="tin").read == ("a", "b")


@pytest.mark.parametrize(
    ("out", "reason"),
    [
        ("sweep.h5", r"must end in \.nc"),
        ("absent/sweep.nc", "there is no folder"),
        ("folder.nc", "is a folder"),
    ],
)
def test_a_target_that_cannot_be_is_refused_before_anything_is_read(root, tmp_path, out, reason):
    (tmp_path / "folder.nc").mkdir()
    with pytest.raises(UsageError, match=reason):
        isoklx.build(tmp_path / "no such root", tmp_path / out)


def test_several_roots_need_a_name_for_the_file(root):
    with pytest.raises(UsageError, match="--out"):
        isoklx.build([root, root])


def test_no_root_is_an_error():
    with pytest.raises(UsageError, match="no runs root"):
        isoklx.build([])


def test_a_folder_that_cannot_be_written_is_one_line(root, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("xarray.Dataset.to_netcdf", refuse)
    with pytest.raises(BuildError, match=r"runs\.nc: cannot be written: Permission denied"):
        isoklx.build(root)
