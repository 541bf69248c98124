"""Open a sweep, whatever it lies in."""

from __future__ import annotations

import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import xarray as xr

from isoklx import store
from isoklx.provenance import global_attributes
from isoklx.reading import read_roots
from isoklx.sweep import assemble


def open_sweep(path: str | Path, *, chunks: store.Chunks = "auto") -> xr.Dataset:
    """Open a built file, or read a runs root directly.

    Parameters
    ----------
    path : str or Path
        A netCDF file that `isoklx.build` wrote, or a runs root (a folder of cells).
    chunks : "auto", int, dict or None
        As for `xarray.open_dataset`. By default arrays are dask-backed when ``kl`` is larger than
        256 MiB, in the file's own chunks.

    Returns
    -------
    Dataset
        Dimensions ``cell``, ``alpha``, ``prompt``, ``token``, ``fork``, ``question`` and
        ``iteration``; ``run_id`` is an index of ``cell``. NaN is a value that was not measured.

    Raises
    ------
    DatasetError
        When the file is absent, damaged, not a sweep, or written by a newer isoklx.
    BuildError
        When the folder holds no cell, or none that can be read.

    Warns
    -----
    UserWarning
        For each cell of a runs root that had to be skipped, naming folder, file and reason.

    Examples
    --------
    >>> ds = open_sweep("data/sample")
    >>> ds.sel(run_id="simulated-1B_pca_s0_w64").kl.dims
    ('alpha', 'prompt', 'token')
    >>> ds.query(cell="method == 'pca' and seed == 0").sizes["cell"]
    2
    """
    path = Path(path)
    if path.is_dir():
        ds = _of_root(path)
        if isinstance(chunks, dict | int):
            ds = ds.chunk(chunks)
    else:
        ds = store.read(path, chunks)
    return ds.set_xindex("run_id")


def _of_root(root: Path) -> xr.Dataset:
    with TemporaryDirectory(prefix="isoklx-") as spool:
        reading = read_roots([root], Path(spool))
        ds = assemble(reading.cells)
    for error in reading.skipped:
        warnings.warn(f"skipped {error}", stacklevel=3)
    return ds.assign_attrs(global_attributes(reading.cells, [root]))
