"""A built file larger than memory should hold, tiled from a small simulated one.

Used by ``scripts/benchmark.py large``.
"""

from __future__ import annotations

from pathlib import Path

import xarray as xr

import isoklx
from isoklx.simulation.sweep import grid, simulate

METHODS = ("directional_ablation", "mean_diff", "pca")
ALPHAS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)
PROMPTS, WINDOW = 32, 4096


def make_large_file(file: Path, gigabytes: float) -> int:
    """Write a file whose ``kl`` has so many gigabytes, and return its number of cells.

    Nine simulated cells are repeated under other names, each repeat scaled a little, so that all
    are distinct. What is written is never in memory as a whole.
    """
    small = file.with_name("tile.nc")
    if not small.exists():
        cells = grid(
            methods=METHODS, seeds=range(3), windows=[WINDOW], prompts=PROMPTS, alphas=ALPHAS
        )
        simulate(file.with_name("tile"), cells)
        isoklx.build(file.with_name("tile"), small)
    with xr.open_dataset(small, chunks={}) as tile:
        repeats = max(round(gigabytes * 1e9 / tile["kl"].nbytes), 1)
        names = tile["run_id"].values
        tiles = [
            tile.assign(
                kl=tile["kl"] * (1 + i / 1e4),
                run_id=("cell", [f"{name}_r{i}" for name in names], tile["run_id"].attrs),
            )
            for i in range(repeats)
        ]
        large = xr.concat(tiles, "cell", data_vars="minimal", coords="minimal", compat="override")
        encoding = {"kl": {"chunksizes": (1, 1, PROMPTS, WINDOW)}}
        large.assign_attrs(tile.attrs).to_netcdf(file, encoding=encoding)
        return large.sizes["cell"]
