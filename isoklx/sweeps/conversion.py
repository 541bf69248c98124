"""A built sweep from one format into the other."""

from __future__ import annotations

from pathlib import Path

from isoklx.cells.paths import as_path
from isoklx.store import formats, stored_sweep
from isoklx.store.known_cells import stored_cells


def convert(source: str | Path, target: str | Path, *, force: bool = False) -> Path:
    """Write a built sweep anew, as netCDF or Zarr, holding a few cells in memory.

    Parameters
    ----------
    source : str or Path
        A file that `isoklx.build` wrote.
    target : str or Path
        What to write, ending in ``.nc`` or ``.zarr``.
    force : bool
        Replace what is at `target` whatever it is, and not only what `isoklx.build` wrote.

    Returns
    -------
    Path
        What was written: the Dataset that `isoklx.build` would have written there, with the
        attributes of the source, dates included.

    Raises
    ------
    DatasetError
        When the source is absent, damaged, or not as `isoklx.build` wrote it.
    UsageError
        When the target is no possible one, holds what `isoklx.build` did not write, or needs a
        package that is not installed.
    BuildError
        When it cannot be written; what was there before is untouched.

    Examples
    --------
    >>> import isoklx
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     out = isoklx.build("data/sample", Path(folder) / "sample.nc").out
    ...     convert(out, Path(folder) / "copy.nc").name
    'copy.nc'
    """
    source, target = as_path(source), as_path(target)
    formats.require_target(target, force=force)
    stored_sweep.read(source).close()  # says what is wrong with it, if anything is
    with stored_cells(source) as (cells, attributes):
        formats.write(cells, target, attributes)
    return target
