"""A sweep that grows while it is watched, including every failure."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import isoklx
from isoklx.cells.layout import Sources
from isoklx.errors import BuildError, CellError, UsageError
from isoklx.simulation.sweep import grid, simulate
from isoklx.system.locks import claimed
from isoklx.watch import watching
from isoklx.watch.watching import Watch
from tests.handmade import kl, make_cell

DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")

WRITER = """
import sys, time
import numpy as np
import isoklx
source, folder = sys.argv[1:]
ds = isoklx.open_sweep(source)
cell = ds.sel(run_id="simulated-1B_mean_diff_s1_w16")
calib = {name: cell[name].item() for name in (
    "c_star", "target_kl", "window", "method", "model", "seed", "layer")}
for alpha in cell.alpha.values.tolist():
    one = cell.sel(alpha=[alpha])
    isoklx.write_cell(
        folder, calib, alphas=[alpha], kl=one.kl.values, gen_len=one.gen_len.values.astype(int),
        forks=cell.fork.values.tolist(), pmass_eval=one.pmass_eval.values,
    )
    print(alpha, flush=True)
    if alpha == 0.5:
        time.sleep(600)
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Simulate four cells, which arrive one after another in the tests."""
    root = tmp_path_factory.mktemp("source")
    simulate(root, grid(seeds=[0, 1], windows=[16], prompts=3, questions=0, texts=True))
    return root


PCA0, PCA1, DIFF0, DIFF1 = (
    f"simulated-1B_{method}_s{seed}_w16" for method in ("pca", "mean_diff") for seed in (0, 1)
)


def arrive(source, root, name, *files):
    """Copy some files of a cell, or all of them, with the current time."""
    (root / name).mkdir(parents=True, exist_ok=True)
    for file in files or [path.name for path in (source / name).iterdir()]:
        shutil.copyfile(source / name / file, root / name / file)


def aged(root, name, seconds):
    then = time.time() - seconds
    for path in [root / name, *(root / name).iterdir()]:
        os.utime(path, (then, then))


def states(view):
    return {each.run_id: (each.state, each.doses) for each in view.states}


def report(root, page):
    """Return the page that the command writes."""
    words = ["report", str(root), "--out", str(page)]
    subprocess.run([sys.executable, "-m", "isoklx", *words], check=True, capture_output=True)
    return page


def same_but_for_dates(*pages):
    first, *others = (DATE.sub("DATE", page.read_bytes().decode()) for page in pages)
    return all(other == first for other in others)


def killed_after_two_doses(source, folder):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(source), str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert [float(process.stdout.readline()) for _ in range(3)] == [0, 0.25, 0.5]
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.mark.slow
def test_the_last_page_of_a_sweep_that_grew_is_that_of_report(source, tmp_path):
    root, page = tmp_path / "outputs", tmp_path / "out" / "live.html"
    root.mkdir()
    watch = Watch(root, page, every=30, cells=5)
    view = watch.look()
    assert (view.states, view.read, view.problems) == ((), None, ())
    assert view.progress.cells == 5

    with claimed(root / PCA0):
        assert states(watch.look()) == {PCA0: ("waiting", 0)}
        kept = root / "_measuring" / PCA0
        kept.mkdir(parents=True)
        (kept / "calib-00-00000-3.npz").write_bytes(b"batch")
        assert states(watch.look()) == {PCA0: ("calibrating", 0)}
        assert not page.exists()
        arrive(source, root, PCA0, "calib.json", "history.json")
        view = watch.look()
        assert states(view) == {PCA0: ("sweeping", 0)}
        assert view.read is not None
        assert page.exists()
        arrive(source, root, PCA0)
        shutil.rmtree(kept)
    assert states(watch.look()) == {PCA0: ("done", 6)}

    (root / PCA1).mkdir()
    shutil.copyfile(source / PCA1 / "history.json", root / PCA1 / "history.json")
    killed_after_two_doses(source, root / DIFF1)
    arrive(source, root, DIFF0, "calib.json")
    make_cell(root, "broken", trajectory=b'{"per_prompt_per_t_kl": {"1.0": [[0.5, 0.')
    view = watch.look()
    assert states(view) == {
        "broken": ("broken", 0),
        DIFF1: ("sweeping", 3),
        PCA1: ("calibrating", 0),
        DIFF0: ("waiting", 0),
        PCA0: ("done", 6),
    }
    assert "trajectory.json: not JSON, or half written" in view.states[0].detail
    assert "1 of 5 cells done" in page.read_text()

    aged(root, DIFF1, 42 * 60)
    view = watch.look()
    assert states(view)[DIFF1] == ("stale", 3)
    assert view.states[1].idle == pytest.approx(42 * 60, abs=5)

    for name in (PCA1, DIFF0):
        arrive(source, root, name)
    view = watch.look()
    assert [each.state for each in view.states] == ["broken", "stale", "done", "done", "done"]
    live = page.read_bytes()
    alone = report(root, tmp_path / "alone.html")
    assert not same_but_for_dates(page, alone)
    watch.settle()
    assert same_but_for_dates(page, alone)
    assert b"This page reloads" in live
    assert b"This page reloads" not in page.read_bytes()
    assert sorted(path.name for path in page.parent.iterdir()) == ["live.html", "live.nc"]


@pytest.mark.slow
def test_a_killed_and_restarted_writer_is_followed(source, tmp_path):
    root = tmp_path / "outputs"
    arrive(source, root, PCA0)
    killed_after_two_doses(source, root / DIFF1)
    watch = Watch(root, tmp_path / "page.html")
    assert states(watch.look())[DIFF1] == ("sweeping", 3)
    script = WRITER.replace("time.sleep(600)", "pass")
    words = [sys.executable, "-c", script, str(source), str(root / DIFF1)]
    subprocess.run(words, check=True, capture_output=True)
    assert states(watch.look())[DIFF1] == ("done", 6)


def test_a_look_without_changes_builds_nothing(source, tmp_path, monkeypatch):
    root = tmp_path / "outputs"
    arrive(source, root, PCA0)
    watch = Watch(root, tmp_path / "page.html", every=30)
    first = watch.look()
    for name in ("build", "write_report", "open_sweep"):
        monkeypatch.setattr(watching, name, lambda *_, **__: pytest.fail("was called"))
    (root / "_measuring" / PCA1).mkdir(parents=True)  # not read by a build
    second = watch.look()
    assert second.read == first.read
    assert states(second) == {PCA1: ("calibrating", 0), PCA0: ("done", 6)}


def test_a_new_watch_parses_only_changed_cells(source, tmp_path, monkeypatch):
    root, reports = tmp_path / "outputs", []
    arrive(source, root, PCA0)
    Watch(root, tmp_path / "page.html").look()
    arrive(source, root, PCA1)
    monkeypatch.setattr(
        watching, "build", lambda *a, **k: reports.append(isoklx.build(*a, **k)) or reports[-1]
    )
    Watch(root, tmp_path / "page.html").look()
    assert [each.unchanged for each in reports] == [(PCA0,)]


def test_without_readable_cells_each_has_a_reason_and_no_page_is_written(tmp_path):
    root = tmp_path / "outputs"
    make_cell(root, "a", trajectory="{")
    make_cell(root, "b", calib="[]")
    view = Watch(root, tmp_path / "page.html", every=30).look()
    assert [(each.run_id, each.state) for each in view.states] == [("a", "broken"), ("b", "broken")]
    assert [each.detail.partition(":")[0] for each in view.states] == [
        "trajectory.json",
        "calib.json",
    ]
    assert view.problems == ("no cell can be read: the page is not written",)
    assert not (tmp_path / "page.html").exists()


def test_a_failed_build_is_reported_and_tried_again(source, tmp_path, monkeypatch):
    root = tmp_path / "outputs"
    arrive(source, root, PCA0)
    watch = Watch(root, tmp_path / "page.html", every=30)

    def full(*_, **__):
        raise BuildError("page.nc: cannot be written: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(watching, "build", full)
        view = watch.look()
    assert view.problems == ("page.nc: cannot be written: No space left on device",)
    assert view.states[0].detail == "not read yet"
    assert watch.look().problems == ()
    assert (tmp_path / "page.html").exists()


def test_a_failed_read_is_tried_again(source, tmp_path, monkeypatch):
    root, page = tmp_path / "outputs", tmp_path / "page.html"
    for name in (PCA0, PCA1):
        arrive(source, root, name)
    watch = Watch(root, page, every=30)
    read = Sources.read

    def refused(self, *files):
        if self.folder.name == PCA1:
            raise CellError(self.folder, files[0], "cannot be read: Stale file handle")
        read(self, *files)

    with monkeypatch.context() as patch:
        patch.setattr(Sources, "read", refused)
        assert states(watch.look()) == {PCA1: ("broken", 0), PCA0: ("done", 6)}
        before = page.read_bytes()
        assert states(watch.look()) == {PCA1: ("broken", 0), PCA0: ("done", 6)}
        assert page.read_bytes() == before  # the same file gives the same page
    assert states(watch.look()) == {PCA0: ("done", 6), PCA1: ("done", 6)}
    assert page.read_bytes() != before


def test_a_page_that_could_not_be_written_is_written_at_the_next_look(
    source, tmp_path, monkeypatch
):
    root, page = tmp_path / "outputs", tmp_path / "page.html"
    arrive(source, root, PCA0)
    watch = Watch(root, page, every=30)

    def full(*_, **__):
        raise BuildError("page.html: cannot be written: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(watching, "write_report", full)
        assert watch.look().problems == ("page.html: cannot be written: No space left on device",)
    assert watch.look().problems == ()
    assert page.exists()


def test_a_root_that_disappears_and_returns_is_still_watched(source, tmp_path):
    root = tmp_path / "outputs"
    arrive(source, root, PCA0)
    watch = Watch(root, tmp_path / "page.html", every=30)
    watch.look()
    root.rename(tmp_path / "away")
    view = watch.look()
    assert view.problems == (f"{root}: folder not found",)
    assert states(view) == {PCA0: ("done", 6)}
    (tmp_path / "away").rename(root)
    assert watch.look().problems == ()


def test_a_removed_cell_disappears_from_the_page(source, tmp_path):
    root = tmp_path / "outputs"
    arrive(source, root, PCA0)
    arrive(source, root, PCA1)
    watch = Watch(root, tmp_path / "page.html")
    watch.look()
    shutil.rmtree(root / PCA1)
    assert states(watch.look()) == {PCA0: ("done", 6)}
    assert PCA1 not in (tmp_path / "page.html").read_text()


def test_relative_paths_and_links_are_followed(source, tmp_path, monkeypatch):
    arrive(source, tmp_path / "elsewhere", PCA0)
    root = tmp_path / "outputs"
    root.mkdir()
    (root / PCA0).symlink_to(tmp_path / "elsewhere" / PCA0)
    (tmp_path / "www").mkdir()
    (tmp_path / "page.html").symlink_to(tmp_path / "www" / "page.html")
    monkeypatch.chdir(tmp_path)
    watch = Watch(Path("outputs"), Path("page.html"), every=30)
    assert states(watch.look()) == {PCA0: ("done", 6)}
    watch.settle()
    assert (tmp_path / "page.html").is_symlink()
    alone = report(root, tmp_path / "alone.html")
    assert same_but_for_dates(tmp_path / "www" / "page.html", alone)


def test_a_file_of_another_kind_beside_the_page_is_left_alone(source, tmp_path):
    (tmp_path / "page.nc").write_bytes(b"somebody's")
    with pytest.raises(UsageError, match=r"page\.nc: exists, but was not written by"):
        Watch(source, tmp_path / "page.html")
    assert (tmp_path / "page.nc").read_bytes() == b"somebody's"


def test_a_path_that_cannot_be_a_runs_root_is_refused_at_once(tmp_path):
    with pytest.raises(UsageError, match="folder not found"):
        Watch(tmp_path / "absent", tmp_path / "page.html")


def test_without_a_page_settling_does_nothing(tmp_path):
    (tmp_path / "outputs").mkdir()
    watch = Watch(tmp_path / "outputs", tmp_path / "page.html", every=30)
    watch.look()
    watch.settle()
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]


def test_a_cell_of_isoklx_run_is_done_without_checkpoints(tmp_path):
    root = tmp_path / "outputs"
    for name, doses in (("a", ["0.0", "1.0"]), ("b", ["1.0"])):
        rows = {alpha: [[0.1]] for alpha in doses}
        pmass = {"computed": False, "completed_alphas": doses}
        made = {"measured_with": {"isoklx": "0.1.0"}}
        make_cell(root, name, calib=made, trajectory=kl(rows), pmass=pmass)
    view = Watch(root, tmp_path / "page.html").look()
    assert states(view) == {"a": ("done", 2), "b": ("done", 1)}
