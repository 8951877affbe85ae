"""Detects regressions: compares two revisions of this project in the same rounds."""
