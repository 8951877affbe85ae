"""Imports from this checkout that the comparison uses, in addition to the load client of `benchmarks.peers`.

The compared engines are never imported. They are started by their own command line.
"""

from console.analysis.ratios import Ratio, paired_ratio
from engine.host.machine import cores, cpu_model

__all__ = ["Ratio", "cores", "cpu_model", "paired_ratio"]
