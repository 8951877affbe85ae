"""Measured serving plans: the search for instances, threads and batch budgets, and where plans are kept."""
