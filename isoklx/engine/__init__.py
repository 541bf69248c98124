"""Measuring models: steer, calibrate the dose, sweep it, and write cells."""
