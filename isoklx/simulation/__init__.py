"""Simulated sweeps in the exact cell format, for tests, examples and benchmarks."""
