"""Builds that are killed, stopped, or run out of room, and what must be there afterwards."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import resource
import shutil
import signal
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

import netCDF4

import isoklx
from isoklx.errors import BuildError
from isoklx.simulation.sweep import CellSpec, simulate

SHAPE = {"window": 64, "prompts": 4, "questions": 2}

# Children start with everything imported, so that a moment drawn at random falls into the build.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    [
        *("tests.faults", "tests.damage", "isoklx.sweeps.build", "isoklx.store.netcdf"),
        *("isoklx.tables.describe", "isoklx.tables.captioned", "isoklx.tables.table"),
        "isoklx.sweeps.verification",
    ]
)


@dataclass(frozen=True)
class Scene:
    """Two runs roots, and a file that is built from the one or the other."""

    old: Path
    new: Path
    out: Path
    old_file: Path
    contents: dict[str, str]

    @classmethod
    def at(cls, folder: Path, cells: int = 2) -> Scene:
        """Simulate the roots, and build each once to know what its file holds."""
        roots, contents = {}, {}
        for seed, name in enumerate(("old", "new")):
            roots[name] = folder / name
            simulate(roots[name], [CellSpec(**SHAPE, seed=i) for i in range(cells)], seed=seed)
            contents[content(isoklx.build(roots[name], folder / f"{name}.nc").out)] = name
        target = folder / "target"
        target.mkdir()
        return cls(roots["old"], roots["new"], target / "out.nc", folder / "old.nc", contents)

    def reset(self) -> None:
        """Put the old file in place."""
        shutil.copyfile(self.old_file, self.out)

    def found(self) -> str:
        """Whose file is there: "old" or "new", and never anything else."""
        return self.contents[content(self.out)]

    def litter(self) -> list[str]:
        return sorted(path.name for path in self.out.parent.iterdir() if path != self.out)


def content(path: Path) -> str:
    """A digest of every value in a file, by netCDF4 alone."""
    digest = hashlib.sha256()
    with netCDF4.Dataset(path) as file:
        file.set_auto_maskandscale(False)
        for name, variable in sorted(file.variables.items()):
            values = variable[:].tolist()  # every NaN is spelt the same
            digest.update(f"{name} {variable.shape} {variable.dtype} {values!r}".encode())
    return digest.hexdigest()


def build(root: Path, out: Path, jobs: int = 1) -> None:
    """Build in a child process, and end it with the status of a command."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which no job in the background has
    try:
        isoklx.build(root, out, force=True, jobs=jobs)
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def started(root: Path, out: Path, jobs: int = 1) -> multiprocessing.process.BaseProcess:
    process = SERVER.Process(target=build, args=(root, out, jobs))
    process.start()
    return process


def seconds_of_a_build(scene: Scene, jobs: int = 1) -> float:
    started(scene.old, scene.out, jobs).join()  # the first one starts the server
    start = time.monotonic()
    started(scene.old, scene.out, jobs).join()
    return time.monotonic() - start


def kill_at_random(
    scene: Scene, times: int, rng: Random, how: int = signal.SIGKILL, jobs: int = 1
) -> Counter[str]:
    """Stop builds of the new root over the old file; count whose file is there, and litter."""
    seen: Counter[str] = Counter()
    length = alone = seconds_of_a_build(scene, jobs)
    for _ in range(times):
        scene.reset()
        process = started(scene.new, scene.out, jobs)
        time.sleep(rng.uniform(0, length))
        with suppress(ProcessLookupError):  # it has ended meanwhile
            if process.is_alive() and process.pid is not None:
                os.kill(process.pid, how)
        process.join()
        stopped = process.exitcode != 0
        # So that about four in five are stopped; a child that has only just started ignores Ctrl-C.
        length = max(length * (1.03 if stopped else 0.9), 0.7 * alone)
        seen["stopped"] += stopped
        seen[scene.found()] += 1
        seen["left litter"] += bool(scene.litter())
        if rng.random() < 0.2:  # so that what several left is removed at once, too
            isoklx.build(scene.old, scene.out, force=True, jobs=1)
            assert scene.litter() == []
            assert scene.found() == "old"
    isoklx.build(scene.old, scene.out, force=True, jobs=1)
    assert scene.litter() == []
    return seen


def build_with_room_for(size: int, root: Path, out: Path) -> str:
    """Build where no file may be larger than `size` bytes; return the error, in one line."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        isoklx.build(root, out, force=True, jobs=1)
    except BuildError as error:
        return str(error)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    return ""
