"""Atomic files, locks, signals, terminals and progress, used by all other packages."""
