"""Immutable values that every layer of the console shares: frames, loads, deployments, exit codes."""
