"""Panels of the Live screen: pure functions from a frame to styled text."""
