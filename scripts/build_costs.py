"""Costs of a build: time against a plain ``json.loads`` of the same files, memory, rebuilds.

Used by ``scripts/benchmark.py build``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from isoklx.simulation.sweep import grid, simulate

METHODS = ("directional_ablation", "mean_diff", "pca")
ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)

LOADS = """
import json, pathlib, sys, time
start = time.perf_counter()
for path in sorted(pathlib.Path(sys.argv[1]).glob("*/*.json")):
    json.loads(path.read_bytes())
print(time.perf_counter() - start)
"""

HEADINGS = (
    "cells",
    "alphas x prompts x tokens",
    "JSON MB",
    "json.loads s",
    "build s",
    "ratio",
    "s per cell",
    "peak MiB",
    "unchanged s",
    "ratio",
    "one changed s",
    "ratio",
    "file MB",
    "band figure s",
    "peak MiB",
)


@dataclass(frozen=True)
class Size:
    """A sweep to build: cells, and the prompts and tokens of each."""

    cells: int
    prompts: int
    window: int


SIZES = (
    Size(10, 8, 64),
    Size(100, 8, 64),
    Size(1000, 8, 64),
    Size(90, 8, 512),
    Size(27, 32, 4096),
    Size(81, 32, 4096),
)


@dataclass(frozen=True)
class Tree:
    """Cost of a process and its children: seconds, and peak resident memory in MiB."""

    wall: float
    peak: float


def rows(folder: Path, sizes: Sequence[Size], repeat: int) -> Iterator[Sequence[str]]:
    """Measure each size in turn; one row of the table each, in the order of HEADINGS."""
    for size in sizes:
        root = folder / f"{size.cells}x{size.prompts}x{size.window}"
        if not root.exists():
            _simulate(root, size)
        yield _row(root, size, repeat)


def _row(root: Path, size: Size, repeat: int) -> Sequence[str]:
    megabytes = sum(path.stat().st_size for path in root.glob("*/*.json")) / 1e6
    loads, builds = [], []
    out = root.with_suffix(".nc")
    for _ in range(repeat):  # in turn, so that both meet the same machine
        loads.append(float(_run(sys.executable, "-c", LOADS, str(root))))
        out.unlink(missing_ok=True)
        builds.append(measure_tree(_build(root, out)))
    load, build = _median(loads), _median([each.wall for each in builds])
    unchanged = _median([measure_tree(_build(root, out)).wall for _ in range(repeat)])
    changed = _median([_rebuild_one_changed(root, out, turn) for turn in range(repeat)])
    figure = measure_tree(
        [*_isoklx("figure"), str(out), "--out", str(root.parent / "figs"), "--format", "png"]
    )
    return (
        str(size.cells),
        f"{len(ALPHAS)} x {size.prompts} x {size.window}",
        f"{megabytes:.0f}",
        f"{load:.2f}",
        f"{build:.2f}",
        f"{build / load:.2f}",
        f"{build / size.cells:.4f}",
        f"{max(each.peak for each in builds):.0f}",
        f"{unchanged:.2f}",
        f"{unchanged / build:.2f}",
        f"{changed:.2f}",
        f"{changed / build:.2f}",
        f"{out.stat().st_size / 1e6:.0f}",
        f"{figure.wall:.1f}",
        f"{figure.peak:.0f}",
    )


def measure_tree(command: Sequence[str]) -> Tree:
    """Run a command, watching the memory of all its processes together.

    Resident pages that processes share are counted in each of them, so the peak errs high.
    """
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peak, done = 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.01):
            peak = max(peak, sum(map(_resident, _descendants(process.pid))))

    watcher = threading.Thread(target=watch)
    watcher.start()
    status = process.wait()
    wall = time.perf_counter() - start
    done.set()
    watcher.join()
    if status:
        raise SystemExit(f"it failed: {' '.join(command)}")
    return Tree(wall, peak / 2**20)


def _descendants(pid: int) -> Iterator[int]:
    yield pid
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [child for task in tasks for child in (task / "children").read_text().split()]
    except OSError:  # it has ended meanwhile
        return
    for child in children:
        yield from _descendants(int(child))


def _resident(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    (kib,) = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")] or [0]
    return int(kib) * 1024


def _simulate(root: Path, size: Size) -> None:
    methods = METHODS if size.cells % len(METHODS) == 0 else METHODS[:1]
    simulate(
        root,
        grid(
            methods=methods,
            seeds=range(size.cells // len(methods)),
            windows=[size.window],
            prompts=size.prompts,
            alphas=ALPHAS,
        ),
    )


def _rebuild_one_changed(root: Path, out: Path, turn: int) -> float:
    """Change the history of one cell, and build again."""
    cell = sorted(path for path in root.iterdir() if path.is_dir())[turn]
    history = json.loads((cell / "history.json").read_text())
    (cell / "history.json").write_text(json.dumps(history[:-1]))
    return measure_tree(_build(root, out)).wall


def _build(root: Path, out: Path) -> list[str]:
    return [*_isoklx("build"), str(root), "--out", str(out)]


def _isoklx(command: str) -> list[str]:
    return [sys.executable, "-m", "isoklx", command]


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]
