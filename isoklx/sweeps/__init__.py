"""A whole sweep: built from runs roots, opened, converted, verified."""
