"""Numerical kernels on plain numpy arrays; the reduced axis is the last one."""
