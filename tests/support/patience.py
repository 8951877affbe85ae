"""The timeout of tests. It is not a measure of speed: a slow or busy machine must not fail a test."""

HANGS_AFTER_S = 180.0
"""An event that has not occurred by then counts as a hang."""
