"""Validity of a measurement: limits of the load generator, Little's law, and the required duration.

`steady_state` tells how steady and how precise the metrics are; this module tells whether they describe the engine.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hdrh.histogram import HdrHistogram

from console.analysis.steady_state import JUDGED_WINDOWS, WINDOW_MIN_REQUESTS, Judgement
from console.load.protocol import Interval
from console.load.recorder import new_histogram
from console.model.load import P95_FLOOR, P99_FLOOR, LoadSpec, Percentiles

SATURATED_CORES = 0.9
SATURATED_S = 10.0
LAG_LIMIT_MS = 1.0
LAG_SHARE = 0.05
LITTLES_LAW_TOLERANCE = 0.05
MAX_ERROR_SHARE = 0.001
"""Share of requests that may fail, be refused or be dropped in a valid run."""
DROPPED = "dropped"
"""In place of a gRPC code: arrivals of an open loop that were not sent."""
_RATE_SLACK = 0.8
"""Lowest rate, relative to the mean, at which a window must still hold its requests."""
_GRID_SLACK_S = 0.5
_RATE_TOO_HIGH = "the engine does not keep up with the rate: lower --rate"
_US_PER_MS = 1000.0


@dataclass(frozen=True, slots=True)
class Lag:
    """Send lag (sent − scheduled) of `n` requests of an open loop."""

    n: int
    p50_ms: float
    p95_ms: float
    p99_ms: float

    @property
    def judged(self) -> tuple[str, float]:
        """Name and value (ms) of the highest percentile that n requests certify."""
        if self.n >= P99_FLOOR:
            return "p99", self.p99_ms
        return ("p95", self.p95_ms) if self.n >= P95_FLOOR else ("p50", self.p50_ms)


def send_lag(intervals: Iterable[Interval]) -> Lag | None:
    """Returns the send lag over all intervals; None if nothing was sent on a schedule."""
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
    """Returns whether the load generator used over 90 % of a core for any `length_s`, or for all of a shorter run."""
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
    """Returns whether an open loop's lag p99 is over 1 ms and over 5 % of the service p50 (latency minus lag).

    With too few requests to certify a p99, the highest certified percentile is used.
    """
    if lag is None or latency.p50_ms is None:
        return False
    service_ms = max(latency.p50_ms - lag.p50_ms, 0.0)
    _, late_ms = lag.judged
    return late_ms > LAG_LIMIT_MS and late_ms > LAG_SHARE * service_ms


def check_littles_law(
    intervals: Sequence[Interval], load: LoadSpec, requests_per_s: float | None, latency: Percentiles
) -> Judgement:
    """Checks Little's law, L = λ W: answers a second times mean latency equal the requests in flight.

    L is the concurrency in a closed loop, and the measured time average in an open loop. A deviation of more than 5 %
    means that the system was not in equilibrium or was not measured completely: callers were idle (after errors, or
    because the load generator was late), or a backlog grew. The requests in flight at both ends of the measurement can
    shift the result by L of n requests; that much is allowed in addition, up to another 5 %. The check also fails if
    more than 5 % of the arrivals were dropped. `spread` is λ W / L.
    """
    duration_s = sum(interval.duration_s for interval in intervals)
    arrivals, dropped = sum(i.arrivals for i in intervals), sum(i.dropped for i in intervals)
    if dropped > LITTLES_LAW_TOLERANCE * arrivals:
        return Judgement(False, f"{dropped:,} of {arrivals:,} arrivals were dropped: {_RATE_TOO_HIGH}")
    if requests_per_s is None or latency.mean_ms is None or not duration_s:
        return Judgement(False, "Little's law: no data", short=True)
    counted = sum(interval.mean_in_flight * interval.duration_s for interval in intervals) / duration_s
    in_flight = counted if load.is_open else float(load.concurrency)
    expected = requests_per_s * latency.mean_ms / 1000.0
    if in_flight <= 0:
        return Judgement(False, "no request was in flight")
    ratio = expected / in_flight
    allowed = LITTLES_LAW_TOLERANCE + min(in_flight / latency.n, LITTLES_LAW_TOLERANCE)
    comparison = f"answers/s times mean latency give {expected:.1f} requests in flight, {in_flight:.1f} were measured"
    if abs(ratio - 1) <= allowed:
        return Judgement(True, f"Little's law holds: {comparison}", ratio)
    if load.is_open:
        why = f"a backlog grows: {_RATE_TOO_HIGH}"
    else:
        why = "callers were idle in between: see the errors, or use a larger batch"
    return Judgement(False, f"Little's law is off by {abs(ratio - 1):.0%}: {comparison}; {why}", ratio)


@dataclass(frozen=True, slots=True)
class Failures:
    """Requests that failed, were refused or were dropped, of all requests that were sent or due."""

    count: int
    total: int
    code: str = ""
    """The most frequent gRPC code, or DROPPED; empty if nothing failed."""
    of_code: int = 0

    @property
    def share(self) -> float:
        return self.count / self.total if self.total else 0.0

    @property
    def judgement(self) -> Judgement:
        """Stable if the share is at most MAX_ERROR_SHARE. `spread` is the share."""
        if not self.count:
            return Judgement(True, "no request failed", 0.0)
        cause = "dropped before they were sent" if self.code == DROPPED else f"with {self.code}"
        most = "all of them" if self.of_code == self.count else "most of them"
        number = f" ({self.of_code:,})" if self.of_code != self.count else ""
        share = f"{100 * self.share:.2g}" if self.share < 0.01 else f"{100 * self.share:.1f}"
        reason = f"{self.count:,} of {self.total:,} requests failed ({share} %), {most} {cause}{number}"
        return Judgement(self.share <= MAX_ERROR_SHARE, reason, self.share)


def failures(errors: Mapping[str, int], dropped: int, answered: int) -> Failures:
    """Returns the failures of a run with `answered` successful requests. `errors` are counts by gRPC code."""
    by_code = Counter(errors)
    if dropped:
        by_code[DROPPED] = dropped
    count = by_code.total()
    code, of_code = by_code.most_common(1)[0] if count else ("", 0)
    return Failures(count, count + answered, code, of_code)


def required_duration_s(requests_per_s: float, window_requests: int = WINDOW_MIN_REQUESTS) -> int:
    """Returns the whole seconds that hold three windows of at least 1 s and `window_requests`, at 80 % of this rate."""
    window_s = math.ceil(max(window_requests / (requests_per_s * _RATE_SLACK), 1.0))
    return JUDGED_WINDOWS * window_s
