"""What a file remembers of each cell's folder, so that nothing is parsed twice.

The Dataset pads cells to common labels; the manifest keeps what padding hides (the cell's own
labels and shapes), the notes of the report, and the stamps that tell whether a file has changed.
"""

from __future__ import annotations

import json

from isoklx.cells.cell import Cell

GROUP = "build"
"""The netCDF group that holds it, out of the way of those who look for data."""

VARIABLE = "manifest"


def entry_of(cell: Cell) -> str:
    """One cell's entry, as a line of JSON."""
    return json.dumps(
        {
            "folder": str(cell.folder),
            "stamps": cell.stamps,
            "alpha": cell.alpha.tolist(),
            "fork": cell.fork.tolist(),
            "shapes": cell.shapes,
            "dtype": cell.dtype,
            "notes": cell.notes,
            **({} if cell.texts_hash is None else {"texts_hash": cell.texts_hash}),
        }
    )
