"""Panels of the Compare screen."""
