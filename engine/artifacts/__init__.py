"""Prepared models: export, quantisation, calibration, and the content-addressed store on disk."""
