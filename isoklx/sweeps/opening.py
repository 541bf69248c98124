"""Open a sweep from a built file or a runs root."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import xarray as xr

from isoklx.errors import UsageError
from isoklx.store import opening
from isoklx.store.formats import is_zarr
from isoklx.sweeps.backend import SweepBackend
from isoklx.system.paths import as_path, as_paths
from isoklx.system.scheduler import connected


def open_sweep(
    path: str | Path | Sequence[str | Path],
    *,
    chunks: opening.Chunks = "auto",
    texts: bool = False,
) -> xr.Dataset:
    """Open a built file or a runs root, or several of them as one sweep.

    Parameters
    ----------
    path : str or Path, or sequence of them
        Output of `isoklx.build` (netCDF or Zarr), a selection of it saved by xarray, or a runs root
        (a folder of cells). The cells of a root are parsed once, on opening; their large arrays are
        kept in a temporary folder and read on demand. Several sweeps are aligned by their labels,
        and parts of one cell (the same files) are joined. Different cells of the same name are
        renamed after their sweep, as in ``dense/pca_s0_w512``.
    chunks : "auto", int, dict or None
        As for `xarray.open_dataset`. By default arrays are dask-backed if ``kl`` is larger than
        256 MiB, in the chunks of the file; the chunks of a root are single cells.
    texts : bool
        Also read ``prompt_text``, ``gen_text`` and ``token_chars`` from a runs root. A file
        has them if it was built with ``texts``.

    Returns
    -------
    Dataset
        Dimensions ``cell``, ``alpha``, ``prompt``, ``token``, ``fork``, ``question`` and
        ``iteration``; ``run_id`` is an index of ``cell``. Values that were not measured are NaN.

    Raises
    ------
    DatasetError
        If the file is absent, damaged, locked, not a sweep, or written by a newer isoklx.
    UsageError
        If the sequence is empty.
    BuildError
        If the folder has no readable cell, or the system has no temporary folder.

    Warns
    -----
    UserWarning
        For each skipped cell of a runs root, with folder, file and reason.

    Examples
    --------
    >>> import isoklx
    >>> ds = open_sweep("data/sample")
    >>> ds.sel(run_id="simulated-1B_pca_s0_w64").kl.dims
    ('alpha', 'prompt', 'token')
    >>> isoklx.select(ds, method="pca", seed=0).sizes["cell"]  # ds.sel(method=...) selects nothing
    2
    """
    if not isinstance(path, str | Path):
        return _open_several(as_paths(path), chunks, texts)
    path = as_path(path)
    if path.is_dir() and not is_zarr(path):
        return opening.chunked(xr.open_dataset(path, engine=SweepBackend, texts=texts), chunks)
    return opening.read(path, chunks)


def _open_several(paths: list[Path], chunks: opening.Chunks, texts: bool) -> xr.Dataset:
    if not paths:
        raise UsageError("expected at least one file or runs root")
    if len(paths) == 1:
        return open_sweep(paths[0], chunks=chunks, texts=texts)
    from isoklx.sweeps.combining import combine

    with ExitStack() as stack:
        sweeps = {
            path: stack.enter_context(open_sweep(path, chunks={}, texts=texts)) for path in paths
        }
        ds = combine(sweeps)
        large = "kl" in ds and ds["kl"].nbytes > opening.LARGE
        if chunks is None or (chunks == "auto" and not large):
            return ds.load()
        ds.set_close(stack.pop_all().close)
    return ds if chunks == "auto" else opening.chunked(ds, chunks)


@contextmanager
def opened(file: Path, scheduler: str | None = None) -> Iterator[xr.Dataset]:
    """Open a sweep, and compute on a scheduler if one is given.

    Parameters
    ----------
    file : Path
        A built file, or a runs root.
    scheduler : str, optional
        Address of a dask.distributed scheduler, tcp://HOST:PORT, whose workers compute. It needs a
        built file on storage that all workers see.

    Yields
    ------
    Dataset
        Dask-backed if a scheduler is given.

    Raises
    ------
    UsageError
        If a scheduler is given for a runs root, whose arrays are in a folder of this machine.
    DatasetError, BuildError
        As for `connected` and `isoklx.open_sweep`.
    """
    file = as_path(file)
    if scheduler is None:
        with open_sweep(file) as ds:
            yield ds
        return
    if file.is_dir() and not is_zarr(file):
        raise UsageError(f"{file}: --scheduler needs a built file, not a runs root; build it first")
    with connected(scheduler), open_sweep(file, chunks={}) as ds:
        yield ds
