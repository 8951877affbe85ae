"""Figures, each from a command of its own; README and ARCHITECTURE name the command beside every number."""
