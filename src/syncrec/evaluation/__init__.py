"""Ranks, metrics and protocols; results as files. Knows no model and no torch."""
