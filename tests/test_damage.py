"""A few of the damaged files that scripts/faults.py tries by the hundred."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.damage import COMMANDS, damaged, outcome
from tests.faults import SERVER, Scene, content


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return Scene.at(tmp_path_factory.mktemp("damage"))


@pytest.mark.parametrize("case", range(5))
def test_a_damaged_file_is_one_line_to_every_command_and_never_passes(
    scene: Scene, case: int
) -> None:
    whole = scene.old_file.read_bytes()
    scene.out.write_bytes(damaged(whole, Random(case)))
    with SERVER.Pool(1) as pool:  # libhdf5 may crash on such a file
        for command in COMMANDS:
            words = ("--root", str(scene.old)) if command == "verify" else ()
            status, _, err = pool.apply_async(outcome, (command, scene.out, *words)).get(60)
            assert len(err.splitlines()) == (status != 0)
            assert "bug" not in err
            if command == "verify" and status == 0:
                assert content(scene.out) == content(scene.old_file)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_foreign_file_is_one_line_to_every_command(tmp_path: Path, command: str) -> None:
    for name, text in (("a.nc", b"not netCDF"), ("b.nc", b""), ("c.nc", b"CDF\x01" + bytes(28))):
        (tmp_path / name).write_bytes(text)
        status, said, err = outcome(command, tmp_path / name)
        assert (status, said) == (1, "")
        assert err.startswith(f"isoklx {command}: {tmp_path / name}: ")
        assert len(err.splitlines()) == 1
