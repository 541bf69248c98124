"""Statistics of trajectories: labelled functions over the kernels."""
