"""The bodies of the commands that measure: they run headless and return an exit code."""
