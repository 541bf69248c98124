"""Sweeps as Datasets and as files: alignment by labels, netCDF-4 and Zarr."""
