"""How measured arrays are cut for storage, and the cells that fill whole chunks together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from isoklx.cells.cell import Cell


def chunk_shape(shape: Sequence[int], itemsize: int, least: int) -> tuple[int, ...]:
    """One dose of whole trajectories, over as many cells as make a chunk worth its overhead.

    People slice by dose over all cells, or take a cell whole; a chunk that holds one dose of one
    cell serves both without reading anything else. Tokens are never split: each statistic of a
    trajectory needs all of it. Cells are joined only where one alone is smaller than `least`.

    Parameters
    ----------
    shape : sequence of int
        Lengths along cell, alpha, and what a trajectory has.
    itemsize : int
        Bytes of a value.
    least : int
        Bytes that a chunk is worth.

    Examples
    --------
    >>> chunk_shape((9, 8, 32, 4096), 4, 65_536), chunk_shape((90, 8, 8, 512), 4, 65_536)
    ((1, 1, 32, 4096), (4, 1, 8, 512))
    """
    cells, _, *trajectory = (max(length, 1) for length in shape)
    size = itemsize * int(np.prod(trajectory))
    return min(cells, max(least // size, 1)), 1, *trajectory


def blocks(cells: Sequence[Cell], length: int) -> Iterator[tuple[int, Sequence[Cell]]]:
    """Cells that lie in the same chunks, with the index of the first.

    Parameters
    ----------
    cells : sequence of Cell
        All of a sweep, in order.
    length : int
        Of a chunk along ``cell``.

    Examples
    --------
    >>> list(blocks("abc", 2))
    [(0, 'ab'), (2, 'c')]
    """
    for start in range(0, len(cells), length):
        yield start, cells[start : start + length]
