"""The command that converts between formats."""

from __future__ import annotations

from pathlib import Path


def convert(source: Path, target: Path, force: bool = False) -> None:
    """Convert what build wrote: netCDF to Zarr, or back.

    The result is what build would have written in that format. Zarr needs the extra of that name.

    Parameters
    ----------
    source : Path
        A file that build wrote.
    target : Path
        File to write, ending in .nc, or folder ending in .zarr.
    force : bool
        Replace what is there, whoever wrote it. Without it, only what build or convert wrote.

    Examples
    --------
    $ isoklx convert sweep.zarr sweep.nc
    $ isoklx convert sweep.nc sweep.zarr
    """
    import isoklx.store.formats
    import isoklx.sweeps.conversion
    from isoklx.terminal import printable

    written = isoklx.sweeps.conversion.convert(source, target, force=force)
    print(f"wrote {printable(written)} ({isoklx.store.formats.size(written) / 1e6:.1f} MB)")
