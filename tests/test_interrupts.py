"""Ctrl-C, at any moment of any command: one line, no traceback of any process, and no litter."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from isoklx.system.signals import INTERRUPTED
from tests.handmade import kl, make_cell

LINE = "isoklx: interrupted\n"

HOOK = """
import os, signal, sys

class Watch:
    def find_spec(self, name, *_):
        if "isoklx.system.signals" in sys.modules:
            if os.environ["AT"] == "nothing":
                sys.stderr.write(name + chr(10))
            elif name == os.environ["AT"]:
                os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Watch())
"""
"""As sitecustomize, has a process interrupt itself where it imports something, or say what."""

STARTED = 0.08
"""Seconds of its own time after which Python, and nothing else, has started."""


@dataclass(frozen=True)
class Scene:
    """A runs root, and the folders that processes write to."""

    root: Path
    place: Path

    def words(self, command: str) -> list[str]:
        out = str(self.place / "out")
        return {
            "build": ["build", str(self.root), "--out", f"{out}/a.nc", "--jobs", "3"],
            "store": ["build", str(self.root), "--out", f"{out}/a.zarr", "--jobs", "1"],
            "figure": ["figure", str(self.root), "--out", out],
            "aggregate": ["aggregate", str(self.root), "--out", out],
        }[command]

    def started(self, command: str, **variables: str) -> subprocess.Popen[str]:
        """Start it as a terminal does: in a group that Ctrl-C reaches as a whole."""
        for name in ("out", "temporary"):
            (self.place / name).mkdir(exist_ok=True)
        variables |= {"TMPDIR": str(self.place / "temporary")}
        # Whoever runs the tests may have Ctrl-C ignored, and children inherit that.
        code = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        code += "from isoklx.__main__ import main; sys.exit(main())"
        return subprocess.Popen(
            [sys.executable, "-c", code, *self.words(command)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **variables},
            start_new_session=True,
        )

    def litter(self) -> list[str]:
        hidden = [path for path in (self.place / "out").iterdir() if path.name.startswith(".")]
        return [path.name for path in [*hidden, *(self.place / "temporary").iterdir()]]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    rows = [[0.1 * i for i in range(400)]] * 40
    for i in range(6):
        folder = make_cell(
            tmp_path / "root", f"c{i}", calib={"window": 400}, trajectory=kl({"1": rows, "2": rows})
        )
        assert folder.is_dir()
    (tmp_path / "place").mkdir()
    return Scene(tmp_path / "root", tmp_path / "place")


def seconds_of(process: subprocess.Popen[str]) -> float:
    """Its processor time, which a busy machine does not stretch."""
    return int(Path(f"/proc/{process.pid}/schedstat").read_text().split()[0]) / 1e9


def finished(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, said = process.communicate(timeout=60)  # the end of what all processes of the group say
    return process.returncode, said


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="needs /proc")
@pytest.mark.parametrize("command", ["build", "store", "figure", "aggregate"])
def test_ctrl_c_at_any_moment_is_one_line_and_leaves_nothing(scene: Scene, command: str) -> None:
    process = scene.started(command)
    length = STARTED
    while process.poll() is None:
        length = max(length, seconds_of(process))
        time.sleep(0.002)
    assert finished(process) == (0, "")
    rng, seen = Random(command), set()
    for turn in range(6):
        moment = rng.uniform(STARTED, length) if turn else STARTED
        process = scene.started(command)
        while process.poll() is None and seconds_of(process) < moment:
            time.sleep(0.002)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        status, said = finished(process)
        assert (status, said) in ((INTERRUPTED, LINE), (0, "")), moment
        assert scene.litter() == []
        seen.add(status)
    assert INTERRUPTED in seen


@pytest.mark.slow
def test_ctrl_c_while_anything_is_imported_is_one_line(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(HOOK)
    path = os.pathsep.join([str(tmp_path / "hook"), os.environ.get("PYTHONPATH", "")])
    status, names = finished(scene.started("figure", AT="nothing", PYTHONPATH=path))
    assert status == 0
    imported = names.split()
    assert {"fire", "numpy", "xarray", "matplotlib"} <= set(imported)
    compiled = ["numpy._core._multiarray_umath", "pandas._libs.tslibs.np_datetime"]
    for name in [*compiled, *Random(0).sample(imported, 6)]:
        process = scene.started("figure", AT=name, PYTHONPATH=path)
        assert finished(process) == (INTERRUPTED, LINE), name
        assert scene.litter() == []
