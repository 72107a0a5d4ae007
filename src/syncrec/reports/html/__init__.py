"""The transfer report as one HTML file, made from plain values."""
