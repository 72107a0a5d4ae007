"""Answers to users from a trained run."""
