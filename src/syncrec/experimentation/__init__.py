"""Experiments on real users: who sees which arm, what came of it, and what logged answers say beforehand."""
