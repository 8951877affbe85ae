"""Prepared models on disk: export, derivation, calibration, and the store that keeps them by content."""
