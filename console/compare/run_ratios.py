"""Ratios of two stored runs with their intervals, from what was measured between warm-up and end. Pure.

The one owner of these ratios: `compare` and the console's Compare, gate and report all say what is said here.
"""

from collections.abc import Callable

from console.analysis.ratios import Ratio, unpaired_ratio
from console.analysis.steady_state import blocks, completion_rates, percentile_change
from console.load.protocol import Interval
from console.measure.run import spec_of, steady
from console.store.read import StoredRun

RunRatio = Callable[[StoredRun, StoredRun], Ratio | None]
"""(ours, base); None where a side cannot state the figure."""


def steady_intervals(run: StoredRun) -> list[Interval]:
    """Those that the run's figures stand on."""
    return steady(run.intervals, 0.0, spec_of(run))


def has_rate(run: StoredRun) -> bool:
    """A rate needs more than one answer a caller: the time between the answers of one burst says nothing."""
    row = run.row
    if row.texts_per_s is None or row.verdict == "failed":
        return False
    return bool(row.rate) or row.latency_n >= 2 * max(row.concurrency, 1)


def block_rates(run: StoredRun) -> list[float]:
    """texts/s of the blocks that the run's own interval stands on."""
    return [rate for rate in completion_rates(blocks(steady_intervals(run))) if rate > 0]


def throughput_ratio(ours: StoredRun, base: StoredRun) -> Ratio | None:
    """By blocks of seconds, Welch's interval on their logarithms."""
    return unpaired_ratio(block_rates(ours), block_rates(base)) if has_rate(ours) and has_rate(base) else None


def percentile_ratio(percentile: float, floor: int) -> RunRatio:
    """Of that latency percentile, its interval from order statistics; None where a side has under `floor` requests."""

    def ratio(ours: StoredRun, base: StoredRun) -> Ratio | None:
        before, after = ([interval.answers for interval in steady_intervals(run)] for run in (base, ours))
        change = percentile_change(before, after, percentile, floor)
        if change is None or change.relative is None or change.margin is None:
            return None
        value = 1 + change.relative
        return Ratio(value, max(value - change.margin, 0.0), value + change.margin, 1)

    return ratio
