"""Remake data/sample: a simulated sweep of 2 models x 3 methods x 2 seeds, window 64, 8 prompts.

The models are named simulated-1B and simulated-8B, so that every figure and table says what it is.
Seed 1 of method "pca" repeats seed 0 to the byte, as greedy decoding does, so that the sample has
12 cells and 10 distinct measurements. Run it from anywhere: ``python scripts/make_sample.py``.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from isoklx.simulation.sweep import sample, simulate

SAMPLE = Path(__file__).resolve().parents[1] / "data" / "sample"

if __name__ == "__main__":
    shutil.rmtree(SAMPLE, ignore_errors=True)
    print(f"{len(simulate(SAMPLE, sample()))} cells in {SAMPLE}")
