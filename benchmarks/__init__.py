"""Benchmarks. README.md and docs/performance.md name the command of each figure."""
