"""Slow, obviously correct versions of what the package computes fast: loops over users, domains, experts, positions."""
