"""A sweep that is watched while it runs: which cell is how far, and a page that keeps up."""
