"""Checks of a prepared dataset for leakage and faults, on its stored arrays."""
