"""State of cells on disk, and folders that cannot be a runs root."""

import contextlib
import os
import time

import pytest

from isoklx.errors import BuildError, UsageError
from isoklx.simulation.sweep import CellSpec, grid, simulate
from isoklx.system.locks import claimed
from isoklx.watch import disk
from isoklx.watch.disk import check_root, disk_states
from tests.handmade import kl, make_cell

MINUTE = 60 * 10**9


def test_a_root_without_cells_is_valid(tmp_path):
    (tmp_path / "report.html").write_text("a page of the watch")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "_aside").mkdir()
    check_root(tmp_path)
    assert disk_states(tmp_path) == {}


def test_cells_include_those_not_yet_in_a_build(tmp_path):
    simulate(tmp_path, grid(methods=["pca"], seeds=[0, 1], prompts=1, windows=[8]))
    kept = tmp_path / "_measuring" / "tiny_pca_s2_w8"
    kept.mkdir(parents=True)
    (kept / "made_with.json").write_text("{}")
    for name in ("calib-00-00000-8", "calib-00-00008-4", "calib-01-00000-12"):
        (kept / f"{name}.npz").write_bytes(b"")
    with claimed(tmp_path / "tiny_pca_s3_w8") as mine:
        assert mine
        found = disk_states(tmp_path)
    assert list(found) == [
        *("simulated-1B_pca_s0_w8", "simulated-1B_pca_s1_w8"),
        *("tiny_pca_s2_w8", "tiny_pca_s3_w8"),
    ]
    first, _, making, claim = found.values()
    assert set(first.files) == {path.name for path in first.folder.iterdir()}
    assert first.swept
    assert first.kept is None
    assert (making.folder, making.sources, making.tries) == (None, None, 2)
    assert (claim.folder, claim.kept) == (None, None)
    assert claim.changed > 0


def test_looking_does_not_take_a_claim(tmp_path):
    with claimed(tmp_path / "tiny_pca_s0_w8"):
        before = sorted(tmp_path.iterdir())
        disk_states(tmp_path)
        assert sorted(tmp_path.iterdir()) == before


def test_the_last_change_is_that_of_the_newest_file_or_checkpoint(tmp_path):
    folder = make_cell(tmp_path, "a", trajectory=kl({"1": [[1.0]]}))
    for i, path in enumerate(sorted(folder.iterdir())):
        os.utime(path, ns=(0, (i + 1) * MINUTE))
    assert disk_states(tmp_path)["a"].changed == 2 * MINUTE
    kept = tmp_path / "_measuring" / "a"
    kept.mkdir(parents=True)
    (kept / "eval-0-0-8.npz").write_bytes(b"")
    os.utime(kept / "eval-0-0-8.npz", ns=(0, 5 * MINUTE))
    os.utime(kept, ns=(0, 4 * MINUTE))
    assert disk_states(tmp_path)["a"].changed == 5 * MINUTE
    os.utime(kept, ns=(0, 6 * MINUTE))  # as when batches are removed
    assert disk_states(tmp_path)["a"].changed == 6 * MINUTE


def test_sources_change_only_with_files_that_a_build_reads(tmp_path):
    folder = make_cell(tmp_path, "a", trajectory=kl({"1": [[1.0]]}))
    before = disk_states(tmp_path)["a"].sources
    (folder / "vector.safetensors").write_bytes(b"vector")
    assert disk_states(tmp_path)["a"].sources == before
    (folder / "gens.jsonl").write_text("{}\n")
    assert disk_states(tmp_path)["a"].sources != before


def test_a_broken_link_is_a_cell_without_files(tmp_path):
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    found = disk_states(tmp_path)["gone"]
    assert (found.files, found.changed) == ({}, 0)


def test_a_file_renamed_during_listing_does_not_hide_others(tmp_path, monkeypatch):
    folder = make_cell(tmp_path, "a", trajectory=kl({"1": [[1.0]]}))
    (folder / "0.tmp").write_text("")
    scan = os.scandir

    @contextlib.contextmanager
    def scandir(path):
        with scan(path) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
            (folder / "0.tmp").unlink(missing_ok=True)
            yield found

    expected = {path.name for path in folder.iterdir()} - {"0.tmp"}
    with monkeypatch.context() as patch:
        patch.setattr(disk.os, "scandir", scandir)
        assert set(disk._stamps(folder)) == expected
    assert expected


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("absent", "folder not found"),
        ("file", "got a file"),
        ("store", "expected a runs root, got a built store"),
        ("cell", "this is one cell; the runs root is"),
        ("nested", "no cell here, but some one level down"),
    ],
)
def test_a_path_that_cannot_be_a_runs_root_is_refused(tmp_path, what, says):
    root = tmp_path / "root"
    if what == "file":
        root.write_text("")
    elif what == "store":
        root.mkdir()
        (root / "zarr.json").write_text("{}")
    elif what == "cell":
        make_cell(tmp_path, "root")
    elif what == "nested":
        make_cell(root / "outputs", "a")
    with pytest.raises(UsageError, match=says) as error:
        check_root(root)
    assert "\n" not in str(error.value)


def test_a_root_that_disappears_is_an_error(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    assert disk_states(root) == {}
    root.rmdir()
    with pytest.raises(BuildError, match="folder not found"):
        disk_states(root)


def test_a_look_at_a_thousand_cells_takes_a_fraction_of_a_second(tmp_path):
    (folder,) = simulate(tmp_path, [CellSpec(prompts=1, window=4, texts=True)])
    names = [path.name for path in folder.iterdir()]
    for i in range(1000):
        copy = tmp_path / f"cell{i:04d}"
        copy.mkdir()
        for name in names:
            os.link(folder / name, copy / name)
    begun = time.process_time()
    assert len(disk_states(tmp_path)) == 1001
    assert time.process_time() - begun < 0.5
