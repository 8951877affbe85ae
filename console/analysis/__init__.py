"""Statistics of measured intervals: steadiness, validity, ratios and bottlenecks. Pure functions."""
