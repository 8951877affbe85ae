"""Panels of the Sweep screen."""
