"""Sweeps: a specification, its points, and the loop that measures them on one engine."""
