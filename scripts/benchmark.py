"""Measure whole processes, from the start of Python to the last byte written, on simulated sweeps.

``python scripts/benchmark.py figures`` draws every kind of figure from one file,
``python scripts/benchmark.py build`` builds sweeps of growing size, ``large`` takes a file of
6 GB, ``run`` rolls a model out, and ``page`` opens a page; each prints a Markdown table. Sweeps are
made in a temporary folder (``build`` needs 3.5 GB of it, ``large`` 7); ``--keep FOLDER`` makes them
there instead, and uses them again the next time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import isoklx
from isoklx.simulation.sweep import grid, simulate

MODELS = [f"example/simulated-{size}B" for size in (1, 2, 4, 8, 16)]
METHODS = ("directional_ablation", "mean_diff", "pca")
ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)

FIGURES = {
    "figure band": "figure1(ds)",
    "figure fan": "figure1(ds, kind='fan')",
    "figure spaghetti": "figure1(ds, kind='spaghetti')",
    "figure spaghetti, color_by_pmass": "figure1(ds, kind='spaghetti', color_by_pmass=True)",
    "alive": "alive(ds)",
}
DRAW = """
import sys
import matplotlib
matplotlib.use("agg")
import isoklx
from isoklx.plot import alive, figure1
ds = isoklx.open_sweep(sys.argv[1])
eval(sys.argv[2]).fig.savefig(sys.argv[3], dpi=200)
"""
EMPTY = """
import sys
import matplotlib
matplotlib.use("agg")
import matplotlib.pyplot as plt
figure, _ = plt.subplots(2, 5, layout="constrained")
figure.savefig(sys.argv[1], dpi=200)
"""
TINY = Path(__file__).resolve().parents[1] / "tests" / "models" / "tiny"
LAUNCH = """
import json, os, sys, time
start = time.perf_counter()
silent = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
process = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=silent)
_, status, usage = os.wait4(process, 0)
wall = time.perf_counter() - start
print(json.dumps([status, wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss]))
"""
PACKAGES = ("numpy", "xarray", "dask", "matplotlib", "netCDF4")


@dataclass(frozen=True)
class Cost:
    """Cost of a process: wall seconds, CPU seconds of all threads, and peak memory in MiB."""

    wall: float
    cpu: float
    peak: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(required=True)
    figures = commands.add_parser("figures", help="draw every figure of a file")
    figures.set_defaults(run=benchmark_figures)
    figures.add_argument("--seeds", type=int, default=3, help="cells per method")
    figures.add_argument("--prompts", type=int, default=32)
    figures.add_argument("--window", type=int, default=4096, help="tokens per trajectory")
    figures.add_argument("--repeat", type=int, default=5, help="runs, of which the least is shown")
    figures.add_argument("--keep", type=Path, help="folder for the simulated sweep")
    figures.add_argument("--measured", type=Path, help="a small runs root to compare with")
    build = commands.add_parser("build", help="build sweeps of growing size")
    build.set_defaults(run=benchmark_build)
    build.add_argument(
        "--largest", type=int, default=10**9, help="cells x prompts x tokens at most"
    )
    build.add_argument("--repeat", type=int, default=3, help="runs, of which the median is shown")
    build.add_argument("--keep", type=Path, help="folder for the simulated sweeps")
    run = commands.add_parser("run", help="roll a model out, steered and measured")
    run.set_defaults(run=benchmark_run)
    run.add_argument("--model", type=Path, default=TINY, help="a folder; by default the tiny model")
    run.add_argument("--prompts", type=Path, help="a file, of which the first 8 are taken")
    run.add_argument("--window", type=int, default=48, help="tokens of a rollout")
    run.add_argument("--tail", help="what asks at a fork, if not what a cell asks with")
    run.add_argument("--sample", type=int, default=8, help="rollouts of the plain loop")
    run.add_argument("--repeat", type=int, default=3, help="runs, of which the quickest is shown")
    large = commands.add_parser("large", help="statistics and figures of a large file")
    large.set_defaults(run=benchmark_large)
    large.add_argument("--gigabytes", type=float, default=6.0, help="size of kl")
    large.add_argument("--keep", type=Path, help="folder for the file")
    page = commands.add_parser("page", help="open the page of many cells in a browser")
    page.set_defaults(run=benchmark_page)
    page.add_argument("--seeds", type=int, default=20, help="cells per model and method")
    page.add_argument("--prompts", type=int, default=32)
    page.add_argument("--window", type=int, default=512, help="tokens per trajectory")
    page.add_argument("--keep", type=Path, help="folder for the simulated sweep")
    options = vars(parser.parse_args(arguments))
    options.pop("run")(**options)


def benchmark_figures(
    seeds: int, prompts: int, window: int, repeat: int, keep: Path | None, measured: Path | None
) -> None:
    """Draw every figure of a simulated sweep and of a small one, and print what each took."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = keep or Path(scratch)
        file = folder / f"sweep_{seeds}x{prompts}x{window}.nc"
        sizes = {"seeds": range(seeds), "windows": [window], "prompts": prompts}
        _build(file, alphas=ALPHAS, **sizes)
        small = folder / (f"{measured.name}.nc" if measured else "small.nc")
        few = {"seeds": range(3), "windows": [512], "prompts": 8}
        _build(small, measured, alphas=ALPHAS[::2], **few)
        shape = f"{seeds * len(METHODS)} cells x {len(ALPHAS)} alphas x {prompts} prompts"
        of = measured.name if measured else "9 cells x 4 alphas x 8 prompts x 512 tokens"
        print(f"Figures of {shape} x {window} tokens, and of {of}, {machine()}.\n")
        print("| what | seconds | CPU seconds | peak memory, MiB | CPU seconds, small | ratio |")
        print("|---|---:|---:|---:|---:|---:|")
        picture = str(Path(scratch) / "figure.png")
        for name, call in FIGURES.items():
            drawing = [
                [sys.executable, "-c", DRAW, str(each), call, picture] for each in (file, small)
            ]
            cost, of_few = _in_turn(drawing, repeat)
            said = f"{cost.wall:.1f} | {cost.cpu:.1f} | {cost.peak:.0f} | {of_few.cpu:.1f}"
            print(f"| {name} | {said} | {cost.cpu / of_few.cpu:.2f} |", flush=True)
        _compare_aggregate(small, repeat, scratch)


def _compare_aggregate(file: Path, repeat: int, scratch: str) -> None:
    """Print what all of a small sweep takes, over one empty figure."""
    whole = [sys.executable, "-m", "isoklx", "aggregate", str(file), "--out", f"{scratch}/figs"]
    empty = [sys.executable, "-c", EMPTY, f"{scratch}/empty.png"]
    all_of_it, nothing = _in_turn([whole, empty], repeat)
    print(
        f"\n`aggregate` of the small one takes {all_of_it.wall:.1f} s, an empty figure of 2 x 5 "
        f"panels {nothing.wall:.1f} s: {all_of_it.wall / nothing.wall:.2f} times as long."
    )


def _in_turn(commands: Sequence[Sequence[str]], repeat: int) -> list[Cost]:
    """Return the smallest cost of each command.

    What else a machine does only adds to it; and the commands take turns, so that none has the
    machine at its best hour.
    """
    rounds = [[measure(command) for command in commands] for _ in range(repeat)]
    return [min(costs, key=lambda cost: cost.cpu) for costs in zip(*rounds, strict=True)]


def _build(file: Path, root: Path | None = None, *, texts: bool = False, **sizes: Any) -> None:
    """Build a runs root, or else a simulated one, unless that was done before."""
    if file.exists():
        return
    if root is None:
        root = file.with_suffix("")
        simulate(root, grid(methods=METHODS, texts=texts, **sizes))
    isoklx.build(root, file, texts=texts)


def benchmark_build(largest: int, repeat: int, keep: Path | None) -> None:
    """Build simulated sweeps of growing size, and print what each took."""
    from build_costs import HEADINGS, SIZES, rows

    sizes = [size for size in SIZES if size.cells * size.prompts * size.window <= largest]
    print(f"Builds, {machine()}.\n")
    print(f"| {' | '.join(HEADINGS)} |")
    print("|" + "---:|" * len(HEADINGS))
    with tempfile.TemporaryDirectory() as scratch:
        for row in rows(keep or Path(scratch), sizes, repeat):
            print(f"| {' | '.join(row)} |", flush=True)


def benchmark_run(
    model: Path, prompts: Path | None, window: int, tail: str | None, sample: int, repeat: int
) -> None:
    """Roll one model out in every way, and print what each took and how far they differ."""
    import torch
    from engine_costs import HEADINGS, case_of, rows

    from isoklx.engine.inputs import PROMPTS, read_prompts

    own = model / "prompts.jsonl"
    read = read_prompts(prompts or (own if own.is_file() else PROMPTS))
    case = case_of(model, read.rows[:8], tail, window)
    packages = f"torch {version('torch')}, transformers {version('transformers')}"
    print(f"{model.name}, {machine()}, {packages}, {torch.get_num_threads()} threads.\n")
    print("| what | measured |\n|---|---:|")
    for row in rows(case, sample, repeat):
        for heading, value in zip(HEADINGS, row, strict=True):
            print(f"| {heading} | {value} |", flush=True)


LARGE = {
    "figure --kind band": ["figure"],
    "survival": ["survival"],
    "survival --metric kl": ["survival", "--metric", "kl", "--threshold", "5"],
    "figure --kind spaghetti": ["figure", "--kind", "spaghetti"],
    "figure --color_by_pmass": ["figure", "--kind", "spaghetti", "--color_by_pmass"],
    "alive": ["alive"],
    "calibration": ["calibration"],
}


def benchmark_large(gigabytes: float, keep: Path | None) -> None:
    """Run every statistic and figure of a file that dask has to stream."""
    from large_file import make_large_file

    with tempfile.TemporaryDirectory() as scratch:
        folder = keep or Path(scratch)
        file = folder / f"large_{gigabytes:g}.nc"
        if not file.exists():
            make_large_file(file, gigabytes)
        print(f"A kl of {gigabytes:g} GB, {machine()}.\n")
        out = ["--out", str(folder / "figs")]
        print_table(
            (
                name,
                [measure([sys.executable, "-m", "isoklx", words[0], str(file), *words[1:], *out])],
            )
            for name, words in LARGE.items()
        )


def benchmark_page(seeds: int, prompts: int, window: int, keep: Path | None) -> None:
    """Make the page of a simulated sweep with texts, open it, and print what each took."""
    from page_costs import rows

    with tempfile.TemporaryDirectory() as scratch:
        file = (keep or Path(scratch)) / f"page_{seeds}x{prompts}x{window}.nc"
        sizes = {"seeds": range(seeds), "windows": [window], "prompts": prompts}
        _build(file, models=MODELS, alphas=ALPHAS, texts=True, **sizes)
        cells = f"{len(MODELS) * len(METHODS) * seeds} cells x {len(ALPHAS)} alphas"
        print(f"The page of {cells} x {prompts} prompts x {window} tokens, {machine()}.\n")
        print("| what | measured |\n|---|---:|")
        for what, measured in rows(file, Path(scratch) / "page.html"):
            print(f"| {what} | {measured} |", flush=True)


def measure(command: Sequence[str]) -> Cost:
    """Run a command to its end, silently."""
    # A process counts the memory of the one that started it as its own, so a small one starts it.
    small = [sys.executable, "-I", "-S", "-c", LAUNCH, *command]
    report = subprocess.run(small, check=True, stdout=subprocess.PIPE, text=True).stdout
    status, wall, cpu, peak = json.loads(report)
    if status:
        raise SystemExit(f"it failed: {' '.join(command)}")
    # Linux counts in KiB, macOS in bytes.
    return Cost(wall, cpu, peak / (1024**2 if sys.platform == "darwin" else 1024))


def print_table(rows: Iterable[tuple[str, list[Cost]]]) -> None:
    """Print one row per command as soon as it is known."""
    print("| what | seconds | CPU seconds | peak memory, MiB |")
    print("|---|---:|---:|---:|")
    for name, costs in rows:
        cost = _median(costs)
        peak = max(cost.peak for cost in costs)
        print(f"| {name} | {cost.wall:.1f} | {cost.cpu:.1f} | {peak:.0f} |", flush=True)


def _median(costs: list[Cost]) -> Cost:
    """Return the run with the median duration."""
    return sorted(costs, key=lambda cost: cost.wall)[len(costs) // 2]


def machine() -> str:
    """Describe the machine and the package versions."""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    python = f"{platform.python_implementation()} {platform.python_version()}"
    hardware = f"{os.cpu_count()} cores ({platform.machine()}), {platform.system()}"
    return f"on {hardware}, with {python}, isoklx {isoklx.__version__}, {packages}"


if __name__ == "__main__":
    main()
