"""Models to cells: steer a model, calibrate the dose, measure what it does to the rollouts."""
