"""Which intervals of a run count, whether their figures are steady, and when the run may end. Pure."""

import math
from collections.abc import Sequence
from itertools import takewhile

from console.analysis.steady_state import Judgement, judge_p95, judge_throughput, rates, windows
from console.load.protocol import Interval
from console.measure.spec import RunSpec
from console.model.load import P95_FLOOR

_SLACK_S = 0.05
"""Tolerance for the jitter of interval boundaries."""

_SHORTEST_S = 0.5
"""A shorter interval is the remainder of a load that ended."""

WINDOWS_OF_A_RUN = 5


class SteadyIntervals:
    """The whole intervals after the warm-up, up to the longest time to measure, collected as they arrive.

    Each interval is examined once, because this runs on the measured machine while the engine is measured.
    """

    def __init__(self, started_s: float, spec: RunSpec) -> None:
        self.kept: list[Interval] = []
        self._since_s = (
            started_s + (spec.load.ramp_s + spec.warm_up_s if spec.from_s is None else spec.from_s) - _SLACK_S
        )
        self._until_s = math.inf if spec.until_s is None else started_s + spec.until_s + _SLACK_S
        self._enough_s = spec.longest_s - _SLACK_S
        self._kept_s = 0.0
        self._last_start_s = -math.inf

    def take(self, intervals: Sequence[Interval]) -> bool:
        """Keeps the new intervals of a history that only grows, oldest first. Returns whether any was kept."""
        new = list(takewhile(lambda interval: interval.start_s > self._last_start_s, reversed(intervals)))
        before = len(self.kept)
        for interval in reversed(new):
            self._last_start_s = interval.start_s
            if interval.start_s < self._since_s or interval.duration_s < _SHORTEST_S or interval.end_s > self._until_s:
                continue
            if self._kept_s < self._enough_s:
                self.kept.append(interval)
                self._kept_s += interval.duration_s
        return len(self.kept) > before


def steady(intervals: Sequence[Interval], started_s: float, spec: RunSpec) -> list[Interval]:
    """Returns the whole intervals after the warm-up, up to the longest time to measure."""
    collected = SteadyIntervals(started_s, spec)
    collected.take(intervals)
    return collected.kept


def is_complete(steady: Sequence[Interval], spec: RunSpec) -> bool:
    """Whether the requested time has been measured, or, with `at_most_s`, enough for certified figures."""
    measured_s = sum(interval.duration_s for interval in steady)
    if measured_s < spec.duration_s - _SLACK_S:
        return False
    return measured_s >= spec.longest_s - _SLACK_S or is_certified(steady, spec)


def is_certified(intervals: Sequence[Interval], spec: RunSpec) -> bool:
    """Whether throughput is steady with a narrow interval and p95 can be stated; with an SLO, p95 is steady too."""
    if sum(interval.answers.requests for interval in intervals) < P95_FLOOR:
        return False
    throughput, p95 = judgements(intervals)
    measured = rates(intervals)
    wide = measured is not None and measured.wide and not spec.load.is_open  # in an open loop chance sets the width
    return throughput.stable and not wide and (p95.stable or spec.slo_p95_ms is None)


def judgements(intervals: Sequence[Interval]) -> tuple[Judgement, Judgement]:
    """Returns the judgements of throughput and of p95, each over windows with enough requests for the figure."""
    length_s = sum(interval.duration_s for interval in intervals) / WINDOWS_OF_A_RUN * 0.99
    return judge_throughput(windows(intervals, length_s)), judge_p95(windows(intervals, length_s, P95_FLOOR))
