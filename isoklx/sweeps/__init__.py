"""Sweeps: built from runs roots, opened, combined, converted and verified."""
