"""Experiments: a grid of models, seeds and datasets, tuned with one budget, trained, and compared."""
