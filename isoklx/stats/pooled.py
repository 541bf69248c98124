"""Sums, means and quantiles over the cells of each group, by dose, with intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from isoklx.stats.along import whole_along
from isoklx.stats.deduplication import codes_of_repeats
from isoklx.stats.endpoint import METRICS
from isoklx.stats.groups import Groups, group_cells
from isoklx.stats.kernels import clusters
from isoklx.stats.survival import LEVEL

Estimate = tuple[xr.DataArray, xr.DataArray]
"""Estimate, and its interval along ``ci_bound``."""


@dataclass(frozen=True)
class Pooled:
    """Cells of each group, pooled by dose."""

    groups: Groups
    present: npt.NDArray[np.bool_]
    """Cells (cell,) that have the metric."""
    code: xr.DataArray | None
    """`codes_of_repeats`, to count each measurement once; None to count every cell."""

    @classmethod
    def of(
        cls, ds: xr.Dataset, by: str | Sequence[str] | None, metric: str, *, distinct: bool
    ) -> Pooled:
        """Group the cells of a sweep that `validated` has returned."""
        present = ds[METRICS[metric].flag].values == 1
        code = codes_of_repeats(ds, by) if distinct else None
        return cls(group_cells(ds, by, present), present, code)

    @property
    def members(self) -> xr.DataArray:
        """Membership (1 or 0) of each cell in each group, along the labels and ``cell``."""
        flat = np.arange(math.prod(self.groups.shape))[:, np.newaxis]
        members = (self.groups.code.values == flat) & self.present
        shape = (*self.groups.shape, self.present.size)
        dims = (*self.groups.labels, "cell")
        return xr.DataArray(members.reshape(shape).astype(float), self.groups.labels, dims)

    def mean(
        self,
        kernel: Callable[..., Any],
        total: xr.DataArray,
        count: xr.DataArray,
        unit: str,
    ) -> Estimate:
        """Estimate a mean from sums and counts of values by cell, dose and unit."""
        return self.estimate(kernel, [self.sum(self._once(each)) for each in (total, count)], unit)

    def plain_mean(self, da: xr.DataArray) -> xr.DataArray:
        """Average all values of the cells of each group, without an interval."""
        rest = [dim for dim in da.dims if dim not in ("cell", "alpha")]
        total, count = (
            self.sum(self._once(each.sum(rest))) for each in (da.fillna(0.0), da.notnull())
        )
        return total / count.where(count > 0)

    def quantile(self, da: xr.DataArray, q: float) -> Estimate:
        """Estimate a quantile over all tokens of the cells of each group."""
        return self.each(lambda cells: self.quantile_of(cells, da, q))

    def quantile_of(self, cells: npt.NDArray[np.intp], da: xr.DataArray, q: float) -> Estimate:
        """Estimate a quantile over all tokens of given cells."""
        first = self.first
        da = da if first is None else da.where(first)
        along = ["prompt", "cell", "token"]
        part = whole_along(da.isel(cell=cells), along)
        return _estimate(partial(_pooled_quantile, q=q, level=LEVEL), [part], along)

    def each(self, estimate: Callable[[npt.NDArray[np.intp]], Estimate]) -> Estimate:
        """Compute an estimate from the cells of each group."""
        found = [
            estimate(np.flatnonzero(self.present & (self.groups.code.values == i)))
            for i in range(math.prod(self.groups.shape))
        ]
        value, bounds = (xr.concat(each, "group") for each in zip(*found, strict=True))
        return self._by_label(value), self._by_label(bounds)

    def sum(self, da: xr.DataArray) -> xr.DataArray:
        """Sum over the cells of each group."""
        values = without_labels(da).astype(np.float64)
        summed: xr.DataArray = xr.dot(self.members, values, dim="cell")
        return summed

    def estimate(
        self, kernel: Callable[..., Any], values: Sequence[xr.DataArray], unit: str
    ) -> Estimate:
        """Apply a kernel along the units of arrays by group and dose."""
        return _estimate(partial(kernel, level=LEVEL), values, [unit])

    @property
    def first(self) -> xr.DataArray | None:
        """True where a cell is not a duplicate of an earlier one; None to count every cell."""
        if self.code is None:
            return None
        return self.code == xr.DataArray(np.arange(self.present.size), dims="cell")

    def _once(self, da: xr.DataArray) -> xr.DataArray:
        return da if self.first is None else da * self.first

    def _by_label(self, da: xr.DataArray) -> xr.DataArray:
        """Replace the dimension ``group`` by one dimension per label."""
        da = da.transpose("group", ...)
        data = da.data.reshape(*self.groups.shape, *da.shape[1:])
        dims = (*self.groups.labels, *da.dims[1:])
        labels = {name: da[name].variable for name in da.dims[1:] if name in da.coords}
        return xr.DataArray(data, {**self.groups.labels, **labels}, dims)


def without_labels(da: xr.DataArray) -> xr.DataArray:
    """Drop the labels of cells: they have the names of the dimensions of groups."""
    return da.drop_vars([name for name, label in da.coords.items() if "cell" in label.dims])


def _estimate(
    kernel: Callable[..., Any], values: Sequence[xr.DataArray], along: list[str]
) -> Estimate:
    found: xr.DataArray = xr.apply_ufunc(
        kernel,
        *values,
        input_core_dims=[along] * len(values),
        output_core_dims=[["number"]],
        dask="parallelized",
        output_dtypes=[np.float64],
        dask_gufunc_kwargs={"output_sizes": {"number": 3}, "allow_rechunk": True},
    )
    bounds = found.isel(number=slice(1, 3)).rename(number="ci_bound")
    return found.isel(number=0), bounds


def _pooled_quantile(samples: npt.NDArray[Any], q: float, level: float) -> npt.NDArray[np.float64]:
    """Quantile of samples (..., prompt, cell, token), with its bounds."""
    pooled = samples.reshape(*samples.shape[:-2], samples.shape[-2] * samples.shape[-1])
    return clusters.pooled_quantile(pooled, q, level=level)
