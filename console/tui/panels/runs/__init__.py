"""Panels of the Runs screen."""
