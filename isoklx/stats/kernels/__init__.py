"""Numerical kernels on plain numpy arrays; they reduce the last axis."""
