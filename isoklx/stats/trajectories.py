"""Trajectories token by token: smoothed, normalised, summed up in bands, and pmass beside them."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import DTypeLike

from isoklx import schema
from isoklx.errors import DatasetError, UsageError
from isoklx.stats.kernels.interpolation import interpolate
from isoklx.stats.kernels.quantiles import nan_quantiles
from isoklx.stats.kernels.smoothing import moving_mean

ROLL = 65
BANDS = (0.1, 0.25, 0.5, 0.75, 0.9)
CALIB_TOKENS = 20

SMALLEST_SCALE = 1e-8
"""An early p95 below this is rounding, as where nothing was steered (alpha 0)."""

BLOCK = 32 * 2**20
"""Bytes of a block of joined chunks; a kernel needs several times that, in every thread."""


def smooth(da: xr.DataArray, roll: int = ROLL, dim: str = "token") -> xr.DataArray:
    """Smooth with a centred moving mean, each trajectory over its own length.

    Position i averages positions i - roll//2 ... i - roll//2 + roll - 1. Both ends are padded with
    the trajectory's own first and last value, so that the length is kept. A trajectory that is
    shorter than `roll` stays as it is.

    Parameters
    ----------
    da : DataArray
        Any dims that include `dim`; NaN after the end of a rollout.
    roll : int
        Positions averaged; 1 changes nothing.
    dim : str
        Dimension to smooth along.

    Returns
    -------
    DataArray
        As `da`: dims, labels, attributes, name and floating dtype; lazy where `da` is. NaN before
        the first value and after the last stay NaN, and no value near them becomes NaN. NaN in
        between stays NaN too, while the tokens around it average the values that are left.

    Raises
    ------
    UsageError
        When `roll` is not a positive integer, or `da` is no DataArray or has no `dim`.

    Examples
    --------
    >>> kl = xr.DataArray([0.0, 3.0, 0.0, 3.0, np.nan], dims="token")
    >>> smooth(kl, roll=3).values
    array([ 1., 1., 2., 2., nan])
    """
    _require_array(da)
    width = check_count("roll", roll)
    series = _whole_along(da.astype(np.result_type(da.dtype, np.float32), copy=False), [dim])
    if not series.size:
        return series
    smoothed = _apply(moving_mean, series, along=[dim], into=(dim, da.sizes[dim]), width=width)
    return smoothed.transpose(*da.dims)


def quantile(
    da: xr.DataArray,
    q: float | Sequence[float],
    dim: str | Sequence[str] = ("cell", "prompt"),
) -> xr.DataArray:
    """Linear quantiles that skip NaN.

    The numbers of ``da.quantile(q, dim, skipna=True)`` in a tenth of its time, without a warning
    where there is nothing but NaN, and on dask-backed arrays of any chunks.

    Parameters
    ----------
    da : DataArray
        Numbers of any dims.
    q : float or sequence of float
        Quantiles, in [0, 1].
    dim : str or sequence of str
        Dimensions to reduce, together; by default over all trajectories. Those of a sweep that
        `da` has not, as where a single cell was selected, are reduced already.

    Returns
    -------
    DataArray
        float64, of dims ``quantile`` (unless `q` is a single number) and those of `da` that are
        left, with their labels and the attributes of `da`; lazy where `da` is. NaN where there is
        no value at all.

    Raises
    ------
    UsageError
        When a quantile is outside [0, 1], a dimension is unknown, or `da` is no DataArray.

    Examples
    --------
    >>> da = xr.DataArray([[4.0, 2.0, np.nan], [np.nan, 9.0, np.nan]], dims=["prompt", "token"])
    >>> quantile(da, [0.5, 1]).values
    array([[4. , 5.5, nan],
           [4. , 9. , nan]])
    """
    _require_array(da)
    levels = np.atleast_1d(np.asarray(q, dtype=float))
    if not ((levels >= 0) & (levels <= 1)).all():
        raise UsageError(f"q={q}: give quantiles between 0 and 1")
    dims = [dim] if isinstance(dim, str) else list(dim)
    dims = [name for name in dims if name in da.dims or name not in schema.DIMS]
    samples = _whole_along(da, dims)
    into, reduced = ("quantile", levels.size), len(dims)
    quantiles = _apply(
        nan_quantiles, samples, along=dims, into=into, dtype=np.float64, q=levels, axes=reduced
    ).assign_coords(quantile=levels)
    return quantiles.transpose("quantile", ...) if np.ndim(q) else quantiles.isel(quantile=0)


def bands(
    sweep: xr.Dataset | xr.DataArray,
    q: float | Sequence[float] = BANDS,
    roll: int = ROLL,
    dim: str | Sequence[str] = ("cell", "prompt"),
) -> xr.DataArray:
    """Quantiles over all trajectories at each token, then smoothed: the bands of Figure 1.

    Parameters
    ----------
    sweep : Dataset or DataArray
        A sweep, of which ``kl`` is taken, or any array along ``token``.
    q, dim
        As for `quantile`.
    roll : int
        As for `smooth`.

    Returns
    -------
    DataArray
        float64, along ``quantile``, what `dim` leaves, and ``token``; lazy where `sweep` is. NaN
        at tokens that no trajectory reached.

    Raises
    ------
    UsageError
        As `quantile` and `smooth`.
    DatasetError
        When a Dataset has no ``kl``.

    Examples
    --------
    >>> import isoklx
    >>> bands(isoklx.open_sweep("data/sample"), q=[0.1, 0.5, 0.9]).dims
    ('quantile', 'alpha', 'token')
    """
    return smooth(quantile(_kl(sweep) if isinstance(sweep, xr.Dataset) else sweep, q, dim), roll)


def crossed(ds: xr.Dataset) -> xr.DataArray:
    """Tell which trajectories had a KL above ``target_kl`` at any token.

    Parameters
    ----------
    ds : Dataset
        A sweep or any selection of it.

    Returns
    -------
    DataArray
        bool, of the dims of ``kl`` without ``token``; lazy where ``kl`` is. Strictly above, in the
        precision of ``kl``; NaN is not above, so that it is False where there is no KL at all.

    Raises
    ------
    DatasetError
        When `ds` has no ``kl`` or ``target_kl``.
    UsageError
        When a single token was selected.

    Examples
    --------
    >>> import isoklx
    >>> ds = isoklx.open_sweep("data/sample")
    >>> crossed(ds).sel(alpha=[0, 4]).mean(["cell", "prompt"]).values
    array([0., 1.])
    """
    kl = _kl(ds)
    schema.require(ds, ["target_kl"])
    above = (kl > ds["target_kl"].astype(kl.dtype)).any("token")
    return _renamed(above, "crossed", "KL was above target_kl at any token")


def normalise_kl(ds: xr.Dataset, calib_tokens: int = CALIB_TOKENS) -> xr.DataArray:
    """KL of each trajectory over the p95 of its own first tokens.

    Parameters
    ----------
    ds : Dataset
        A sweep or any selection of it.
    calib_tokens : int
        The p95 is that of the raw KL of tokens 0 ... calib_tokens - 1, NaN skipped.

    Returns
    -------
    DataArray
        Dims, labels and dtype of ``kl``; dimensionless; lazy where ``kl`` is. A trajectory is all
        NaN where its p95 is below 1e-8, as at alpha 0.

    Raises
    ------
    DatasetError
        When `ds` has no ``kl``.
    UsageError
        When `calib_tokens` is not a positive integer, or `ds` has none of those tokens.

    Examples
    --------
    >>> import isoklx
    >>> ds = isoklx.open_sweep("data/sample")
    >>> early = normalise_kl(ds).sel(alpha=1, token=slice(0, 19))
    >>> quantile(early, 0.95, "token").max().round(6).item()
    1.0
    """
    kl = _kl(ds)
    early = kl.isel(token=kl["token"].values < check_count("calib_tokens", calib_tokens))
    if kl.sizes["token"] and not early.sizes["token"]:
        raise UsageError(f"calib_tokens={calib_tokens}: the selection has none of these tokens")
    scale = quantile(early, 0.95, "token")
    scale = scale.where(scale >= SMALLEST_SCALE).astype(kl.dtype)
    early_p95 = f"p95 of the trajectory's first {calib_tokens} tokens"
    # Without labels, which xarray would compute to compare where they are lazy.
    return _renamed(kl / scale.variable, "kl_normalised", f"KL over the {early_p95}")


def pmass_on_tokens(ds: xr.Dataset) -> xr.DataArray:
    """Interpolate ``pmass_eval`` to every token, so that it can be laid beside ``kl``.

    Linear between the trajectory's own finite forks, constant before the first and after the last.
    A fork that this cell has not, because another cell brought it into the sweep, has no influence.

    Parameters
    ----------
    ds : Dataset
        A sweep or any selection of it.

    Returns
    -------
    DataArray
        Dims of ``pmass_eval`` with ``token`` for ``fork``, and its dtype; lazy where ``kl`` or
        ``pmass_eval`` is, in the chunks of ``kl``. NaN from ``gen_len`` on, for a trajectory
        without any finite fork or without ``gen_len``, and where `paired_pmass` is.

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
    kl = _kl(ds)
    schema.require(ds, ["pmass_eval", "gen_len", "fork"])
    chunks = {dim: sizes for dim, sizes in kl.variable.chunksizes.items() if dim != "token"}
    pmass = paired_pmass(ds)
    pmass = _rechunked(pmass, chunks) if chunks else pmass
    line = _apply(
        interpolate,
        _whole_along(pmass, ["fork"]),
        ds["gen_len"].variable,
        along=["fork"],
        into=("token", kl.sizes["token"]),
        knots=ds["fork"].values,
        positions=kl["token"].values,
    ).assign_coords(token=kl["token"])
    return _renamed(line, "pmass_on_tokens", "pmass_eval, linear between the trajectory's forks")


def paired_pmass(ds: xr.Dataset) -> xr.DataArray:
    """Keep ``pmass_eval`` where it is known to be of the same prompts as ``kl``.

    Parameters
    ----------
    ds : Dataset
        A sweep or any selection of it.

    Returns
    -------
    DataArray
        ``pmass_eval``, NaN at the doses of a cell that are ``unpaired``; lazy where it is.

    Raises
    ------
    DatasetError
        When `ds` lacks ``pmass_eval``.

    Examples
    --------
    >>> import isoklx
    >>> ds = isoklx.open_sweep("data/sample")
    >>> paired_pmass(ds).identical(ds.pmass_eval)
    True
    """
    schema.require(ds, ["pmass_eval"])
    if "unpaired" not in ds:
        return ds["pmass_eval"]
    pmass = ds["pmass_eval"]
    return pmass.where(ds["unpaired"] == 0).transpose(*pmass.dims)


def _kl(ds: xr.Dataset) -> xr.DataArray:
    if not isinstance(ds, xr.Dataset):
        raise DatasetError(f"not an isoklx sweep: {type(ds).__name__} is no Dataset")
    schema.require(ds, ["kl", "token"])
    _require_dims(ds["kl"], ["token"])
    return ds["kl"]


def _apply(
    kernel: Callable[..., Any],
    da: xr.DataArray,
    *others: xr.Variable,
    along: Sequence[str],
    into: tuple[str, int],
    dtype: DTypeLike | None = None,
    **options: object,
) -> xr.DataArray:
    """The kernel's result, whose last axis is ``into`` where ``da`` was ``along`` several."""
    name, size = into
    if da.chunks is not None and not math.prod(da.sizes[dim] for dim in along):
        # dask divides by the length of what it applies a kernel along.
        nothing = da.sum(along, keep_attrs=True).where(False).astype(dtype or da.dtype)
        return nothing.expand_dims({name: size}, axis=-1)
    result: xr.DataArray = xr.apply_ufunc(
        kernel,
        da,
        *others,
        kwargs=options,
        input_core_dims=[along, *([] for _ in others)],
        output_core_dims=[[name]],
        dask="parallelized",
        output_dtypes=[dtype or da.dtype],
        dask_gufunc_kwargs={"output_sizes": {name: size}},
        keep_attrs=True,
    )
    return result


def _renamed(da: xr.DataArray, name: str, long_name: str) -> xr.DataArray:
    da = da.rename(name)
    da.attrs = {"long_name": long_name, "units": "1"}
    return da


def check_count(name: str, value: int) -> int:
    """A number of tokens, or UsageError when it is no positive integer."""
    if not isinstance(value, int | np.integer) or value < 1:
        raise UsageError(f"{name}={value!r}: give a positive integer")
    return int(value)


def _require_array(da: xr.DataArray) -> None:
    if not isinstance(da, xr.DataArray):
        raise UsageError(f"{type(da).__name__} is no DataArray; give one, such as ds.kl")


def _require_dims(da: xr.DataArray, dims: Sequence[str]) -> None:
    for dim in dims:
        if dim not in da.dims:
            there = ", ".join(map(str, da.dims)) or "none"
            raise UsageError(f"{da.name or 'the array'} has no dimension {dim!r}, it has {there}")


def _whole_along(da: xr.DataArray, dims: Sequence[str]) -> xr.DataArray:
    """The same array in one chunk along ``dims``; the longest other dimension gives way for it.

    Joining ten thousand cells would make blocks larger than memory, if it did not come with
    splitting the tokens; all others keep their chunks, so that a selection reads no more than it.
    """
    _require_dims(da, dims)
    if da.chunks is None:
        return da
    chunks: dict[Hashable, int] = dict.fromkeys(dims, -1)
    others = {dim: max(sizes) for dim, sizes in da.variable.chunksizes.items() if dim not in dims}
    if others:
        longest = max(others, key=lambda dim: others[dim])
        rest = math.prod(size for dim, size in others.items() if dim != longest)
        row = math.prod(da.sizes[dim] for dim in dims) * rest * da.dtype.itemsize
        if row * others[longest] > BLOCK:
            chunks[longest] = max(1, BLOCK // row)
    return _rechunked(da, chunks)


def _rechunked(da: xr.DataArray, chunks: Mapping[Hashable, Any]) -> xr.DataArray:
    """As ``da.chunk``, which would make labels lazy as well."""
    return da.copy(data=da.variable.chunk(chunks).data)
