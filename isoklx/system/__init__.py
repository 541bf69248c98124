"""Atomic files, locks, signals, terminals and progress: what every other room stands on."""
