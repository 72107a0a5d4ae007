"""Recommenders behind one small interface, one file a model, and their registry."""
