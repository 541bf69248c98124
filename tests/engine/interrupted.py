"""Runs that are stopped again and again, each time in a child of a process that has all imported.

``python -m tests.engine.interrupted FOLDER`` goes through them, and prints what it has seen.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

from isoklx.cli.main import main
from isoklx.engine import context, directions, pipeline
from isoklx.engine import run as runs
from isoklx.system.signals import end_on_interrupt
from tests.engine.small_runs import contents, small, words
from tests.models.tiny_model import TINY

CHANGES = ("open", "os.rename", "os.mkdir", "os.rmdir", "os.remove")
MORE = 12
"""Changes of the disk that a child lives longer than the one before it."""


class Scene:
    """A command, run in children into one folder after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._options = small(folder, alphas=(0.0, 0.5, 1.0, 2.0), window=6)
        self.started = folder / "batches"
        self.said = folder / "said"

    def words(self, out: Path) -> list[str]:
        return ["run", str(TINY), *words({**self._options, "out": out})]

    def at_once(self, name: str, runs: int) -> dict[str, Any]:
        """Several runs of one root."""
        out = self.folder / name
        pids = [self.child(out) for _ in range(runs)]
        statuses = [waited(pid) for pid in pids]
        return {"statuses": statuses, "same": contents(out) == contents(self.folder / "whole")}

    def child(self, out: Path, prepare: Callable[[Path], object] = lambda _: None) -> int:
        """Start the command as a terminal does; the child's number."""
        pid = os.fork()
        if pid:
            return pid
        said = os.open(self.said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(said, 1)
        os.dup2(said, 2)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        end_on_interrupt()
        prepare(out)
        os._exit(main(self.words(out)))

    def batches(self) -> int:
        return len(self.started.read_text().splitlines())

    def stopped_again_and_again(self, name: str, stop: Callable[[Path], int]) -> dict[str, Any]:
        """Stop a run and start it again until it is through; `stop` returns a child's status."""
        out, before = self.folder / name, self.batches()
        statuses: list[int] = []
        said: list[str] = []
        litter: list[str] = []
        empty: list[str] = []
        while not statuses or statuses[-1] != 0:
            statuses.append(stop(out))
            said.append(self.said.read_text())
            litter += [path.name for path in out.rglob(".*")] if out.exists() else []
            empty += [out.name] if out.exists() and not any(out.iterdir()) else []
        return {
            "statuses": statuses,
            "said": said,
            "litter": litter,
            "empty": empty,
            "batches": self.batches() - before,
            "same": contents(out) == contents(self.folder / "whole"),
            "left": sorted(contents(out)),
        }


def counted(scene: Scene) -> None:
    """Note every batch that is begun, in whatever process."""
    roll_out = pipeline.roll_out

    def noted(*args: Any, **options: Any) -> Any:
        with scene.started.open("a") as file:
            file.write(".\n")
        return roll_out(*args, **options)

    pipeline.roll_out = noted


def found_once(module: ModuleType, name: str) -> None:
    """What is found before anything is written, this process finds for all of its children."""
    find = getattr(module, name)
    found: list[Any] = []

    def once(*args: Any, **options: Any) -> Any:
        if not found:
            found.append(find(*args, **options))
        return found[0]

    setattr(module, name, once)


def dying_before_a_change(at: int, out: Path) -> None:
    """Kill this process before its so-many-th change of what is in the runs root."""
    count = 0

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event in CHANGES:
            place, mode = arguments[:2]
            count += str(place).startswith(str(out)) and mode not in ("r", "rb")
            if count == at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def waited(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def go(folder: Path) -> dict[str, Any]:
    scene = Scene(folder)
    scene.started.touch()
    counted(scene)
    for module, name in (
        (runs, "_loaded"),
        (context, "self_test"),
        (directions, "calibration_start"),
    ):
        found_once(module, name)
    with redirect_stdout(sys.stderr):
        assert main(scene.words(folder / "whole")) == 0
    whole = scene.batches()
    begun = time.monotonic()
    assert waited(scene.child(folder / "again")) == 0, scene.said.read_text()
    length = time.monotonic() - begun
    rng = Random(0)

    def at_random(how: int) -> Callable[[Path], int]:
        def stop(out: Path) -> int:
            pid = scene.child(out)
            time.sleep(rng.uniform(0.05, 1.1) * length)
            os.kill(pid, how)  # it is no zombie before it is waited for
            return waited(pid)

        return stop

    lives = iter(range(2, 1000, MORE))

    def at_a_change(out: Path) -> int:
        return waited(scene.child(out, partial(dying_before_a_change, next(lives))))

    found = {
        "whole": whole,
        "at once": scene.at_once("at_once", 3),
        "changes": [scene.stopped_again_and_again("changes", at_a_change)],
    }
    for how, times in ((signal.SIGKILL, 10), (signal.SIGTERM, 3), (signal.SIGINT, 3)):
        chains: list[dict[str, Any]] = []
        while sum(len(chain["statuses"]) - 1 for chain in chains) < times:
            chains.append(scene.stopped_again_and_again(f"{how.name}{len(chains)}", at_random(how)))
        found[how.name] = chains
    return found


if __name__ == "__main__":
    print(json.dumps(go(Path(sys.argv[1]))))
