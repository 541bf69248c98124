import os
import shutil
import subprocess
import sys

import netCDF4
import pytest
import xarray as xr

import isoklx
from isoklx.errors import BuildError, UsageError
from isoklx.store import formats
from isoklx.store.provenance import DATED
from tests.handmade import NAN, kl, make_cell, write


@pytest.fixture
def root(tmp_path):
    make_cell(tmp_path / "runs", "a", trajectory=kl({"1": [[1, 2]]}))
    make_cell(tmp_path / "runs", "b", calib={"window": 8}, trajectory={})
    return tmp_path / "runs"


def stored(path):
    with netCDF4.Dataset(path) as file:
        return list(file["run_id"][:])


def test_the_default_file_is_beside_the_root(root):
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


def test_the_report_lists_cells_read_skipped_and_noted(root, tmp_path):
    make_cell(root, "c", pmass="[1")
    report = isoklx.build(root)
    text = str(report)
    assert report.read == ("a", "b")
    assert [error.folder.name for error in report.skipped] == ["c"]
    assert "read 2 cells\n" in text
    assert f"note: {root}/b/trajectory.json: stale, per_prompt_per_t_kl is missing\n" in text
    assert f"skipped: {root}/c/pmass.json: not JSON, or half written" in text
    assert f"wrote {tmp_path}/runs.nc (0." in text


def test_strict_writes_nothing_when_a_cell_is_skipped(root, tmp_path):
    make_cell(root, "c", pmass="[1")
    (tmp_path / "runs.nc").write_text("what was there before")
    with pytest.raises(
        BuildError, match=r"nothing written: 1 cell cannot be read: .*c/pmass\.json"
    ):
        isoklx.build(root, strict=True, force=True)
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
        ("absent/sweep.nc", "folder .* not found"),
        ("folder.nc", "is a folder"),
    ],
)
def test_an_invalid_target_is_refused_before_reading(root, tmp_path, out, reason):
    (tmp_path / "folder.nc").mkdir()
    with pytest.raises(UsageError, match=reason):
        isoklx.build(tmp_path / "no such root", tmp_path / out)


def test_several_roots_require_a_file_name(root):
    with pytest.raises(UsageError, match="--out"):
        isoklx.build([root, root])


def test_no_root_is_an_error():
    with pytest.raises(UsageError, match="at least one runs root"):
        isoklx.build([])


def test_a_folder_that_cannot_be_written_is_one_line(root, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(BuildError, match=r"runs\.nc: cannot be written: Permission denied"):
        isoklx.build(root)


def same(*paths):
    """Return whether files have identical Datasets, except for the dates."""
    opened = [isoklx.open_sweep(path).load() for path in paths]
    for ds in opened:
        for name in DATED:
            del ds.attrs[name]
    for other in opened[1:]:
        xr.testing.assert_identical(opened[0], other)
    return True


class TestIncremental:
    """A second build copies unchanged cells."""

    def test_an_unchanged_root_leaves_the_file_unchanged(self, root):
        first = isoklx.build(root)
        before = first.out.stat()
        second = isoklx.build(root)
        assert (first.unchanged, second.unchanged) == ((), ("a", "b"))
        assert (first.written, second.written) == (True, False)
        after = second.out.stat()
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
        assert second.notes == first.notes != ()
        assert "read 0 cells, 2 unchanged\n" in str(second)
        assert "kept " in str(second)

    @pytest.mark.parametrize("change", ["changed", "new", "removed", "touched", "broken"])
    def test_the_result_equals_a_build_from_scratch(self, root, tmp_path, change):
        make_cell(
            root,
            "c",
            trajectory=kl({"1": [[5, 6, 7]], "2": [[8]]}),
            pmass={"fork_points": [0, 3], "pmass_eval": {"1": [[0.5, NAN]]}},
            history=[{"coeff": 1, "kl_mean": 1, "kl_p95": 1, "kl_max": 1}],
        )
        isoklx.build(root)
        if change == "changed":
            write(root / "a" / "trajectory.json", kl({"4": [[1, 2, 3], [4]]}))
        elif change == "new":
            make_cell(root, "d", trajectory=kl({"0": [[0.5]]}))
        elif change == "removed":
            shutil.rmtree(root / "c")
        elif change == "touched":
            os.utime(root / "c" / "pmass.json", ns=(5, 5))
        else:
            write(root / "b" / "history.json", "[")
        report = isoklx.build(root)
        assert report.written
        assert "c" in report.unchanged or change == "removed"
        assert same(report.out, isoklx.build(root, tmp_path / "scratch.nc", force=True).out)
        assert not isoklx.build(root).written

    @pytest.mark.parametrize("later", [True, False])
    def test_changed_file_times_are_noted(self, root, tmp_path, later):
        times = (2 * 10**9,) * 2
        if not later:
            os.utime(root / "a" / "calib.json", times)
        first = isoklx.build(root)
        os.utime(root / "a" / ("calib.json" if later else "trajectory.json"), times)
        second = isoklx.build(root)
        assert second.unchanged == ("b",)
        for report, noted in ((first, not later), (second, later)):
            assert any("calib.json: newer than the results" in n for n in report.notes) == noted
        assert isoklx.open_sweep(second.out).calib_newer.values.tolist() == [int(later), 0]
        assert same(second.out, isoklx.build(root, tmp_path / "scratch.nc", force=True).out)
        assert not isoklx.build(root).written

    def test_force_reads_everything(self, root):
        isoklx.build(root)
        report = isoklx.build(root, force=True)
        assert report.unchanged == ()
        assert report.written

    def test_another_dtype_reads_everything(self, root):
        isoklx.build(root)
        assert isoklx.build(root, dtype="float64").unchanged == ()

    def test_filters_drop_cells_of_the_file(self, root):
        isoklx.build(root)
        report = isoklx.build(root, window=8)
        assert (report.read, report.unchanged) == (("b",), ("b",))

    def test_a_root_that_moved_is_recognised_by_its_content(self, root, tmp_path):
        isoklx.build(root, tmp_path / "a.nc")
        shutil.copytree(root, tmp_path / "copy")
        report = isoklx.build(tmp_path / "copy", tmp_path / "a.nc")
        assert report.unchanged == ("a", "b")
        assert isoklx.open_sweep(tmp_path / "a.nc").source == "JSON of 2 runs under copy"


class TestWhatIsThere:
    """Without force, only output of a build or a conversion is replaced."""

    @pytest.fixture(params=["netCDF", "text", "selection", "store"])
    def foreign(self, request, root, tmp_path):
        """Write a file of another program under the name of the output."""
        path = tmp_path / "precious.nc"
        if request.param == "netCDF":
            xr.Dataset({"temperature": 1.0}).to_netcdf(path)
        elif request.param == "text":
            path.write_text("a thesis")
        elif request.param == "selection":
            with isoklx.open_sweep(root) as ds:
                ds.isel(cell=[0]).to_netcdf(path)
        else:
            pytest.importorskip("zarr", reason="needs the extra zarr")
            path = tmp_path / "precious.zarr"
            xr.Dataset({"temperature": 1.0}).to_zarr(path, zarr_format=2)
        return path

    def test_it_is_refused_before_reading(self, foreign, tmp_path):
        before = contents(foreign)
        with pytest.raises(UsageError, match=r"precious.*not known to be written by.*--force"):
            isoklx.build(tmp_path / "no such root", foreign)
        assert contents(foreign) == before

    def test_force_replaces_it(self, foreign, root):
        assert isoklx.build(root, foreign, force=True).written
        assert isoklx.build(root, foreign).unchanged == ("a", "b")

    def test_an_empty_file_may_be_replaced(self, root, tmp_path):
        (tmp_path / "runs.nc").touch()
        assert isoklx.build(root).written
        assert stored(tmp_path / "runs.nc") == ["a", "b"]

    def test_an_older_build_is_replaced(self, root):
        out = isoklx.build(root).out
        with netCDF4.Dataset(out, "a") as file:
            file.setncattr("schema_version", 0)
        assert isoklx.build(root).unchanged == ()


def contents(path):
    files = [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
    return [(file, file.read_bytes()) for file in files]


class TestLinks:
    """Symbolic links are kept and followed."""

    def test_the_default_file_is_beside_the_link_to_a_root(self, root, tmp_path, monkeypatch):
        (tmp_path / "here").mkdir()
        (tmp_path / "here" / "today").symlink_to(root)
        assert isoklx.build(tmp_path / "here" / "today").out == tmp_path / "here" / "today.nc"
        monkeypatch.chdir(root / "a")
        assert isoklx.build("..").out == tmp_path / "runs.nc"
        monkeypatch.chdir(root)
        assert isoklx.build(".").out == tmp_path / "runs.nc"

    def test_a_root_without_a_name_requires_a_file_name(self):
        with pytest.raises(UsageError, match="name the file with --out"):
            isoklx.build("/")

    @pytest.mark.parametrize("suffix", [".nc", ".zarr"])
    def test_an_output_link_is_kept(self, root, tmp_path, suffix):
        pytest.importorskip("zarr", reason="needs the extra zarr")
        (tmp_path / "there").mkdir()
        link = tmp_path / f"a{suffix}"
        link.symlink_to(f"there/b{suffix}")
        for turn in range(2):
            report = isoklx.build(root, link, force=bool(turn))
            assert (report.out, report.written) == (link, True)
        assert not isoklx.build(root, link).written
        assert link.is_symlink()
        assert [path.name for path in (tmp_path / "there").iterdir()] == [f"b{suffix}"]
        assert isoklx.open_sweep(tmp_path / "there" / f"b{suffix}").run_id.size == 2
        assert f"{formats.size(link) / 1e6:.1f} MB" in str(report)

    def test_a_link_into_a_missing_folder_is_one_line(self, root, tmp_path):
        (tmp_path / "a.nc").symlink_to("absent/b.nc")
        with pytest.raises(UsageError, match=r"a\.nc: folder .*absent not found$"):
            isoklx.build(root, tmp_path / "a.nc")


@pytest.mark.parametrize("jobs", [2, 3])
def test_parallel_and_serial_builds_are_identical(sample, tmp_path, jobs):
    serial = isoklx.build(sample, tmp_path / "serial.nc", jobs=1)
    parallel = isoklx.build(sample, tmp_path / "parallel.nc", jobs=jobs)
    assert same(serial.out, parallel.out)


def test_a_build_leaves_only_its_file(root, tmp_path):
    isoklx.build(root, jobs=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs", "runs.nc"]


def test_fewer_than_one_process_is_refused(root):
    with pytest.raises(UsageError, match="jobs must be at least 1, got 0"):
        isoklx.build(root, jobs=0)


def test_a_build_does_not_import_unused_packages(sample, tmp_path):
    code = (
        "import sys, isoklx; isoklx.build(sys.argv[1], sys.argv[2]); "
        "print({'xarray', 'pandas', 'matplotlib', 'dask', 'scipy', 'torch'} & set(sys.modules))"
    )
    words = [sys.executable, "-c", code, str(sample), str(tmp_path / "sample.nc")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
