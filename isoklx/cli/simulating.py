"""The command that makes a simulated sweep, for who has none yet."""

from __future__ import annotations

from pathlib import Path

from isoklx.errors import UsageError
from isoklx.terminal import printable


def simulate(root: Path, *, window: int = 64, prompts: int = 8, seed: int = 0) -> None:
    """Write a simulated sweep to look at the other commands with: two models, three methods.

    Twelve cells, of two seeds, in the format of measured ones, texts included. Seed 1 of method
    pca repeats seed 0 to the byte, as greedy decoding does. Nothing in it was measured, and the
    models' names say so.

    Parameters
    ----------
    root : Path
        Folder for the cells, made when absent; nothing but simulated cells may be in it.
    window : int
        Tokens of a rollout.
    prompts : int
        Held-out prompts of a cell.
    seed : int
        Another seed gives another sweep; the same one gives the same bytes.

    Examples
    --------
    $ isoklx simulate outputs
    $ isoklx simulate large --window 512 --prompts 32
    """
    import isoklx.cells.simulator

    _refuse_others(root)
    cells = isoklx.cells.simulator.sample(window=window, prompts=prompts)
    folders = isoklx.cells.simulator.simulate(root, cells, seed=seed)
    print(printable(f"{len(folders)} simulated cells in {root}"))


def _refuse_others(root: Path) -> None:
    """Simulated cells among measured ones would be counted as measured."""
    if root.exists() and not root.is_dir():
        raise UsageError(f"{root}: is a file, not a folder")
    others = [
        entry.name
        for entry in root.glob("*")
        if entry.name[0] != "." and not entry.name.startswith("simulated-")
    ]
    if others:
        raise UsageError(
            f"{root}: has {min(others)} in it; give a folder for simulated cells alone"
        )
