"""Curves along tokens: smoothing, quantile bands, normalised KL and interpolated pmass."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from isoklx import schema
from isoklx.errors import UsageError
from isoklx.stats.along import (
    apply_along,
    check_count,
    kl_of,
    rechunked,
    renamed,
    require_array,
    whole_along,
)
from isoklx.stats.deduplication import first_of_repeats
from isoklx.stats.groups import occurring, split_by
from isoklx.stats.kernels.quantiles import nan_quantiles
from isoklx.stats.kernels.smoothing import EDGES, Edges, interpolate, moving_mean
from isoklx.stats.selection import restore_dims

ROLL = 65
"""Largest width of a moving mean in a figure, and the default of `smooth`."""

BANDS = (0.1, 0.25, 0.5, 0.75, 0.9)
CALIB_TOKENS = 20

SMALLEST_SCALE = 1e-8
"""An early p95 below this is rounding, as at alpha 0."""


def smooth(
    da: xr.DataArray, roll: int = ROLL, dim: str = "token", edges: Edges = "shrink"
) -> xr.DataArray:
    """Smooth each trajectory with a centred moving mean over its own length.

    Position i becomes the mean of the existing positions among i - roll//2, ..., i - roll//2 + roll
    - 1.

    Parameters
    ----------
    da : DataArray
        Array with dimension `dim`; NaN after the end of a rollout.
    roll : int
        Number of positions averaged; 1 changes nothing.
    dim : str
        Dimension to smooth along.
    edges : {"shrink", "repeat"}
        ``"shrink"`` averages the positions that exist. ``"repeat"`` reproduces an older script: it
        pads both ends with the trajectory's first and last value, and does not smooth a trajectory
        shorter than `roll`. At roll 65 the first token then has a weight of 33/65, and every curve
        bends at its last 32 tokens.

    Returns
    -------
    DataArray
        Dims, labels, attributes, name and floating dtype of `da`; lazy where `da` is. NaN stays
        NaN, and does not spread: a mean near it is over the remaining values.

    Raises
    ------
    UsageError
        When `roll` is not a positive integer, `da` is not a DataArray or lacks `dim`, or `edges` is
        unknown.

    Examples
    --------
    >>> kl = xr.DataArray([0.0, 3.0, 0.0, 3.0, np.nan], dims="token")
    >>> smooth(kl, roll=3).values
    array([1.5, 1. , 2. , 1.5, nan])
    """
    require_array(da)
    if edges not in EDGES:
        raise UsageError(f"edges must be one of {', '.join(EDGES)}, got {edges!r}")
    width = check_count("roll", roll)
    series = whole_along(da.astype(np.result_type(da.dtype, np.float32), copy=False), [dim])
    if not series.size:
        return series
    smoothed = apply_along(
        moving_mean, series, along=[dim], into=(dim, da.sizes[dim]), width=width, edges=edges
    )
    return smoothed.transpose(*da.dims)


def quantile(
    da: xr.DataArray,
    q: float | Sequence[float],
    dim: str | Sequence[str] = ("cell", "prompt"),
) -> xr.DataArray:
    """Compute linear quantiles that skip NaN.

    Equals ``da.quantile(q, dim, skipna=True)`` in a tenth of its time, without a warning for slices
    of NaN only, and for dask-backed arrays of any chunks.

    Parameters
    ----------
    da : DataArray
        Array of numbers.
    q : float or sequence of float
        Quantiles, in [0, 1].
    dim : str or sequence of str
        Dimensions to reduce jointly; by default all trajectories. This pools all cells, including
        both sides of a direction and several temperatures. Dimensions of a sweep that `da` lacks,
        as after the selection of a single cell, are ignored.

    Returns
    -------
    DataArray
        Float64, with dims ``quantile`` (unless `q` is a single number) and the remaining dims of
        `da`, with their labels and the attributes of `da`; lazy where `da` is. NaN for slices of
        NaN only.

    Raises
    ------
    UsageError
        When a quantile is outside [0, 1], a dimension is unknown, or `da` is not a DataArray.

    Examples
    --------
    >>> da = xr.DataArray([[4.0, 2.0, np.nan], [np.nan, 9.0, np.nan]], dims=["prompt", "token"])
    >>> quantile(da, [0.5, 1]).values
    array([[4. , 5.5, nan],
           [4. , 9. , nan]])
    """
    require_array(da)
    levels = np.atleast_1d(np.asarray(q, dtype=float))
    if not ((levels >= 0) & (levels <= 1)).all():
        raise UsageError(f"q must be between 0 and 1, got {q}")
    dims = [dim] if isinstance(dim, str) else list(dim)
    dims = [name for name in dims if name in da.dims or name not in schema.DIMS]
    samples = whole_along(da, dims)
    into, reduced = ("quantile", levels.size), len(dims)
    quantiles = apply_along(
        nan_quantiles, samples, along=dims, into=into, dtype=np.float64, q=levels, axes=reduced
    ).assign_coords(quantile=levels)
    return quantiles.transpose("quantile", ...) if np.ndim(q) else quantiles.isel(quantile=0)


def default_roll(window: int) -> int:
    """Return the default width of a moving mean: an eighth of the window, odd, at most 65."""
    eighth = window // 8
    return min(eighth + (eighth + 1) % 2, ROLL)


def bands(
    sweep: xr.Dataset | xr.DataArray,
    q: float | Sequence[float] = BANDS,
    roll: int | None = None,
    dim: str | Sequence[str] = ("cell", "prompt"),
    edges: Edges = "shrink",
    *,
    distinct: bool = True,
) -> xr.DataArray:
    """Compute quantiles over trajectories at each token, smoothed: the bands of Figure 1.

    Parameters
    ----------
    sweep : Dataset or DataArray
        A sweep, whose ``kl`` is used, or any array along ``token``.
    q : float or sequence of float
        As for `isoklx.quantile`.
    roll : int, optional
        As for `isoklx.smooth`; by default an eighth of the number of tokens, made odd, at most 65.
    dim : str or sequence of str
        As for `isoklx.quantile`, except that both sides of a direction, and several temperatures,
        are not pooled along ``cell``.
    edges : {"shrink", "repeat"}
        As for `isoklx.smooth`.
    distinct : bool
        Whether to leave out duplicates in a sweep, at each dose. An array is used as it is.

    Returns
    -------
    DataArray
        Float64, along ``quantile``, the remaining dims and ``token``, and along ``sign`` or
        ``temperature`` if the cells have several; lazy where `sweep` is. NaN at tokens that no
        trajectory reached.

    Raises
    ------
    UsageError
        As `isoklx.quantile` and `isoklx.smooth` do.
    DatasetError
        When a Dataset lacks ``kl``, or a variable that the search for duplicates needs.

    Examples
    --------
    >>> import isoklx
    >>> bands(isoklx.open_sweep("data/sample"), q=[0.1, 0.5, 0.9]).dims
    ('quantile', 'alpha', 'token')
    """
    if isinstance(sweep, xr.Dataset):
        sweep = _distinct_kl(sweep) if distinct else kl_of(sweep)
    dims = [dim] if isinstance(dim, str) else list(dim)
    pooled = isinstance(sweep, xr.DataArray) and "cell" in dims and "cell" in sweep.dims
    names = split_by(sweep.coords.to_dataset()) if pooled else []
    quantiles = _by_labels(sweep, names, q, dims)
    if names and np.ndim(q):
        quantiles = quantiles.transpose("quantile", ...)
    return smooth(quantiles, roll or default_roll(quantiles.sizes["token"]), edges=edges)


def normalise_kl(ds: xr.Dataset, calib_tokens: int = CALIB_TOKENS) -> xr.DataArray:
    """Divide KL of each trajectory by the p95 of its own first tokens.

    Parameters
    ----------
    ds : Dataset
        A sweep or any selection of it.
    calib_tokens : int
        Number of first tokens. The p95 is of their raw KL, and skips NaN.

    Returns
    -------
    DataArray
        Dims, labels and dtype of ``kl``; dimensionless; lazy where ``kl`` is. A trajectory whose
        p95 is below 1e-8, as at alpha 0, is NaN.

    Raises
    ------
    DatasetError
        When `ds` lacks ``kl``.
    UsageError
        When `calib_tokens` is not a positive integer, or `ds` contains none of these tokens.

    Examples
    --------
    >>> import isoklx
    >>> ds = isoklx.open_sweep("data/sample")
    >>> early = normalise_kl(ds).sel(alpha=1, token=slice(0, 19))
    >>> quantile(early, 0.95, "token").max().round(6).item()
    1.0
    """
    kl = kl_of(ds)
    early = kl.isel(token=kl["token"].values < check_count("calib_tokens", calib_tokens))
    if kl.sizes["token"] and not early.sizes["token"]:
        raise UsageError(f"the selection has no token below calib_tokens={calib_tokens}")
    scale = quantile(early, 0.95, "token")
    scale = scale.where(scale >= SMALLEST_SCALE).astype(kl.dtype)
    early_p95 = f"p95 of the trajectory's first {calib_tokens} tokens"
    # Without labels: xarray would compute lazy labels to compare them.
    return renamed(kl / scale.variable, "kl_normalised", f"KL over the {early_p95}")


def pmass_on_tokens(ds: xr.Dataset) -> xr.DataArray:
    """Interpolate ``pmass_eval`` to every token, on the dims of ``kl``.

    Linear between the trajectory's own finite forks, constant before the first and after the last.
    Forks of other cells in the sweep have no influence.

    Parameters
    ----------
    ds : Dataset
        A sweep or any selection of it.

    Returns
    -------
    DataArray
        Dims of ``pmass_eval`` with ``token`` instead of ``fork``, and its dtype; lazy where ``kl``
        or ``pmass_eval`` is, in the chunks of ``kl``. NaN from ``gen_len`` on, for a trajectory
        without a finite fork or without ``gen_len``, and at ``unpaired`` doses of a cell.

    Raises
    ------
    DatasetError
        When `ds` lacks ``pmass_eval``, ``kl`` or ``gen_len``.
    UsageError
        When a single fork or token was selected.

    Examples
    --------
    >>> import isoklx
    >>> ds = isoklx.open_sweep("data/sample")
    >>> pmass_on_tokens(ds).dims == ds.kl.dims
    True
    """
    kl = kl_of(ds)
    schema.require(ds, ["pmass_eval", "gen_len", "fork"])
    chunks = {dim: sizes for dim, sizes in kl.variable.chunksizes.items() if dim != "token"}
    pmass = paired_pmass(ds)
    pmass = rechunked(pmass, chunks) if chunks else pmass
    line = apply_along(
        interpolate,
        whole_along(pmass, ["fork"]),
        ds["gen_len"].variable,
        along=["fork"],
        into=("token", kl.sizes["token"]),
        knots=ds["fork"].values,
        positions=kl["token"].values,
    ).assign_coords(token=kl["token"])
    return renamed(line, "pmass_on_tokens", "pmass_eval, linear between the trajectory's forks")


def paired_pmass(ds: xr.Dataset) -> xr.DataArray:
    """Return ``pmass_eval``, NaN at unpaired doses: its prompts may differ from those of ``kl``."""
    schema.require(ds, ["pmass_eval"])
    if "unpaired" not in ds:
        return ds["pmass_eval"]
    pmass = ds["pmass_eval"]
    return pmass.where(ds["unpaired"] == 0).transpose(*pmass.dims)


def _by_labels(
    da: xr.DataArray, names: Sequence[str], q: float | Sequence[float], dims: Sequence[str]
) -> xr.DataArray:
    """Compute quantiles over the cells of each combination of labels."""
    if not names:
        return quantile(da, q, dims)
    label, *others = names
    groups = list(occurring(da.coords.to_dataset(), [label]))
    index = xr.Variable((label,), [labels[label] for labels, _ in groups], da[label].attrs)
    parts = [_by_labels(da.isel(cell=cells), others, q, dims) for _, cells in groups]
    return xr.concat(parts, index, join="outer")


def _distinct_kl(ds: xr.Dataset) -> xr.DataArray:
    kl = kl_of(ds)
    first = first_of_repeats(restore_dims(ds))
    return kl.where(first.isel({dim: 0 for dim in first.dims if dim not in kl.dims}))
