"""A corpus of cells that are broken, odd or hostile, and what a build makes of each."""
