"""Ratios of two stored runs with 95 % intervals, from the intervals between warm-up and end. Pure.

`compare`, the Compare screen, gate and report all use these ratios, so that they agree.
"""

from collections.abc import Callable

from console.analysis.ratios import Ratio, unpaired_ratio
from console.analysis.steady_state import blocks, completion_rates, percentile_change
from console.load.protocol import Interval
from console.measure.certification import steady
from console.measure.spec import spec_of
from console.store.read import StoredRun

RunRatio = Callable[[StoredRun, StoredRun], Ratio | None]
"""Takes a run and the baseline; returns None if one of them cannot state the figure."""


def steady_intervals(run: StoredRun) -> list[Interval]:
    """Returns the intervals from which the run's figures were computed."""
    return steady(run.intervals, 0.0, spec_of(run))


def has_rate(run: StoredRun) -> bool:
    """Whether the run has a throughput: one burst of answers, one per concurrent request, does not give a rate."""
    row = run.row
    if row.texts_per_s is None or row.verdict == "failed":
        return False
    return bool(row.rate) or row.latency_n >= 2 * max(row.concurrency, 1)


def block_rates(run: StoredRun) -> list[float]:
    """Returns texts/s of the blocks from which the run's own confidence interval was computed."""
    return [rate for rate in completion_rates(blocks(steady_intervals(run))) if rate > 0]


def throughput_ratio(run: StoredRun, base: StoredRun) -> Ratio | None:
    """Returns the ratio of texts/s, with Welch's interval on the logarithms of the block rates."""
    return unpaired_ratio(block_rates(run), block_rates(base)) if has_rate(run) and has_rate(base) else None


def percentile_ratio(percentile: float, floor: int) -> RunRatio:
    """Returns a function for the ratio of a latency percentile, with an interval from order statistics.

    The ratio is None if a run has fewer than `floor` requests.
    """

    def ratio(run: StoredRun, base: StoredRun) -> Ratio | None:
        before, after = ([interval.answers for interval in steady_intervals(one)] for one in (base, run))
        change = percentile_change(before, after, percentile, floor)
        if change is None or change.relative is None or change.margin is None:
            return None
        value = 1 + change.relative
        return Ratio(value, max(value - change.margin, 0.0), value + change.margin, 1)

    return ratio
