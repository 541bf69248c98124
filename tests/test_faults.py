"""Whatever happens to a build, there is one whole file and nothing else."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from random import Random

import netCDF4
import pytest

import isoklx
from isoklx.errors import BuildError, UsageError
from tests.faults import SERVER, Scene, build_with_room_for, kill_at_random, started


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    made = Scene.at(tmp_path)
    made.reset()
    return made


@pytest.mark.slow
def test_a_build_that_is_killed_at_any_moment_leaves_the_old_file_or_the_new(scene: Scene) -> None:
    seen = kill_at_random(scene, 60, Random(0))
    assert seen["old"] + seen["new"] == 60
    assert seen["stopped"] > 20


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_build_that_is_told_to_stop_leaves_no_litter(scene: Scene, how: int) -> None:
    seen = kill_at_random(scene, 10, Random(how), how)
    assert seen["old"] + seen["new"] == 10
    assert seen["left litter"] == 0


def test_of_builds_at_once_one_wins_and_none_corrupts(scene: Scene) -> None:
    builds = [started(root, scene.out) for root in (scene.old, scene.new) * 4]
    for each in builds:
        each.join()
    assert [each.exitcode for each in builds] == [0] * 8
    assert scene.found() in ("old", "new")
    assert scene.litter() == []


def test_a_file_that_is_being_read_keeps_serving_the_old_content(scene: Scene) -> None:
    with netCDF4.Dataset(scene.out) as reader, isoklx.open_sweep(scene.out) as lazy:
        before = reader["kl"][:]
        isoklx.build(scene.new, scene.out)
        assert scene.found() == "new"
        assert (reader["kl"][:] == before).all()
        assert (lazy.kl.values[before.mask == False] == before.compressed()).all()  # noqa: E712


def test_a_file_that_another_program_is_writing_is_replaced(scene: Scene) -> None:
    with netCDF4.Dataset(scene.out, "a"):
        isoklx.build(scene.new, scene.out)
    assert scene.found() == "new"


@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.6, 0.9, 0.99])
def test_a_disk_without_room_is_one_line_and_leaves_the_old_file(
    scene: Scene, share: float
) -> None:
    room = int(share * scene.old_file.stat().st_size)
    with SERVER.Pool(1) as pool:
        error = pool.apply(build_with_room_for, (room, scene.new, scene.out))
    assert error.endswith(": cannot be written: File too large")
    assert str(scene.out.parent) in error
    assert scene.found() == "old"
    assert scene.litter() == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_one_line(scene: Scene) -> None:
    scene.out.parent.chmod(0o500)
    with pytest.raises(BuildError, match=r"out\.nc: cannot be written: Permission denied"):
        isoklx.build(scene.new, scene.out)
    assert scene.found() == "old"


def test_a_target_that_is_a_folder_is_one_line(scene: Scene) -> None:
    scene.out.unlink()
    scene.out.mkdir()
    with pytest.raises(UsageError, match=r"out\.nc: is a folder"):
        isoklx.build(scene.new, scene.out)
    assert scene.litter() == []
