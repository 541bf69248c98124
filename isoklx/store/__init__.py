"""A sweep as a Dataset and as a file: labels, alignment, netCDF-4 and Zarr."""
