"""Whether a stretch of load measured the engine at all: the driver's own limits, Little's law, and how long it must be.

`statistics` says how steady and how sure the figures are; this says what would make them figures of something else.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hdrh.histogram import HdrHistogram

from console.analysis.steady_state import WINDOW_MIN_REQUESTS, WINDOWS_JUDGED, Judgement
from console.load.protocol import Interval
from console.load.recorder import new_histogram
from console.model.load import P95_FLOOR, P99_FLOOR, LoadSpec, Percentiles

SATURATED_CORES = 0.9
SATURATED_S = 10.0
LAG_LIMIT_MS = 1.0
LAG_SHARE = 0.05
LITTLE_WITHIN = 0.05
_RATE_SLACK = 0.8
"""A window must still hold its requests in a second that is so much slower than the mean."""
_GRID_SLACK_S = 0.5
_TOO_MUCH = "the engine does not keep up with the rate, lower --rate"
_US_PER_MS = 1000.0


@dataclass(frozen=True, slots=True)
class Lag:
    """How late `n` requests of an open loop were sent: sent − scheduled."""

    n: int
    p50_ms: float
    p95_ms: float
    p99_ms: float

    @property
    def judged(self) -> tuple[str, float]:
        """The highest percentile that n certifies, by name, and its ms: one hiccup in sixty is no p99."""
        if self.n >= P99_FLOOR:
            return "p99", self.p99_ms
        return ("p95", self.p95_ms) if self.n >= P95_FLOOR else ("p50", self.p50_ms)


def send_lag(intervals: Iterable[Interval]) -> Lag | None:
    """Of all the intervals together; None where nothing was sent on a schedule."""
    merged: HdrHistogram | None = None
    for interval in intervals:
        if interval.send_lag:
            merged = merged or new_histogram()
            merged.add(HdrHistogram.decode(interval.send_lag))
    if merged is None:
        return None
    p50, p95, p99 = (merged.get_value_at_percentile(percentile) / _US_PER_MS for percentile in (50, 95, 99))
    return Lag(merged.get_total_count(), p50, p95, p99)


def cpu_saturated(intervals: Sequence[Interval], length_s: float = SATURATED_S) -> bool:
    """The driver used over 90 % of a core for any `length_s` on end; of a shorter stretch, all of it must be so."""
    needed_s = min(length_s, sum(interval.duration_s for interval in intervals)) - _GRID_SLACK_S
    begin, duration_s, busy_s = 0, 0.0, 0.0
    for interval in intervals:
        duration_s += interval.duration_s
        busy_s += interval.cpu_cores * interval.duration_s
        while duration_s - intervals[begin].duration_s >= needed_s > 0:
            duration_s -= intervals[begin].duration_s
            busy_s -= intervals[begin].cpu_cores * intervals[begin].duration_s
            begin += 1
        if duration_s >= needed_s > 0 and busy_s / duration_s > SATURATED_CORES:
            return True
    return False


def lag_saturated(lag: Lag | None, latency: Percentiles) -> bool:
    """In an open loop: lag p99 over 1 ms and over 5 % of the service p50 (latency less the lag that is in it).

    Of fewer requests than certify a p99, the highest percentile that they do certify is judged.
    """
    if lag is None or latency.p50_ms is None:
        return False
    service_ms = max(latency.p50_ms - lag.p50_ms, 0.0)
    _, late_ms = lag.judged
    return late_ms > LAG_LIMIT_MS and late_ms > LAG_SHARE * service_ms


def check_littles_law(
    intervals: Sequence[Interval], load: LoadSpec, requests_per_s: float | None, latency: Percentiles
) -> Judgement:
    """Little's law, L = λ W: answers a second times their mean latency are the requests in flight.

    L is the concurrency in a closed loop, the time average that was counted in an open one. Off by more than 5 % the
    stretch was not in equilibrium or not all of it was measured: callers idled (after errors, or because the driver was
    late), or a backlog grew. A stretch is cut at requests in flight, which alone can move it by L of n requests: that
    much is allowed for, up to another 5 %. Nor is a rate kept up with when over 5 % of the arrivals had to be dropped.
    `spread` is λ W / L.
    """
    duration_s = sum(interval.duration_s for interval in intervals)
    arrivals, dropped = sum(i.arrivals for i in intervals), sum(i.dropped for i in intervals)
    if dropped > LITTLE_WITHIN * arrivals:
        return Judgement(False, f"{dropped:,} of {arrivals:,} arrivals were dropped: {_TOO_MUCH}")
    if requests_per_s is None or latency.mean_ms is None or not duration_s:
        return Judgement(False, "nothing to hold against Little's law")
    counted = sum(interval.mean_in_flight * interval.duration_s for interval in intervals) / duration_s
    in_flight = counted if load.is_open else float(load.concurrency)
    found = requests_per_s * latency.mean_ms / 1000.0
    if in_flight <= 0:
        return Judgement(False, "no request was in flight")
    ratio = found / in_flight
    allowed = LITTLE_WITHIN + min(in_flight / latency.n, LITTLE_WITHIN)
    says = f"answers/s times mean latency make {found:.1f} requests in flight, there were {in_flight:.1f}"
    if abs(ratio - 1) <= allowed:
        return Judgement(True, f"Little's law holds: {says}", ratio)
    if load.is_open:
        why = f"a backlog grows: {_TOO_MUCH}"
    else:
        why = "callers were idle in between: see the errors, or use a larger batch"
    return Judgement(False, f"Little's law is off by {abs(ratio - 1):.0%}: {says}; {why}", ratio)


def duration_needed_s(requests_per_s: float, window_requests: int = WINDOW_MIN_REQUESTS) -> int:
    """Whole seconds that hold three windows of at least 1 s and `window_requests`, at four fifths of this rate."""
    window_s = math.ceil(max(window_requests / (requests_per_s * _RATE_SLACK), 1.0))
    return WINDOWS_JUDGED * window_s
