"""Comparing stored runs: paired and unpaired ratios, differences in configuration, and the gate."""
