"""All that the comparison takes from the checkout it is called from, besides the load client of `benchmarks.peers`.

The engines that are compared are never imported: they are started through their own command line.
"""

from console.analysis.ratios import Ratio, paired_ratio
from engine.host.machine import cores, cpu_model

__all__ = ["Ratio", "cores", "cpu_model", "paired_ratio"]
