"""The implementations of the commands that measure: they run without a terminal UI and return an exit code."""
