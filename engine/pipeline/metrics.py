"""The engine's metrics: cumulative counters and stage histograms, read as snapshots.

Used from the event loop's thread only. Snapshots are cumulative: a slow reader loses resolution in time but no
measurement, and costs the engine nothing between its reads.
"""

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import psutil
from hdrh.histogram import HdrHistogram

from engine.scheduling import BatchRecord

MAX_TRACKED_US = 600_000_000
"""The largest time that a histogram records, in microseconds (10 minutes); longer times count as this one."""

SIGNIFICANT_FIGURES = 2
"""Precision of the histograms: within 1 % of the true value. Enough for means and shares of stages; latency is measured
by the client."""

STAGES = ("queue", "tokenize", "infer", "serialize")


class StageHistogram:
    """The times of one stage: an HdrHistogram of whole microseconds, and their exact sum."""

    __slots__ = ("_histogram", "count", "sum_us")

    def __init__(self) -> None:
        self._histogram = HdrHistogram(1, MAX_TRACKED_US, SIGNIFICANT_FIGURES)
        self.count = 0
        self.sum_us = 0.0

    def record(self, duration_s: float) -> None:
        """Records the time of one request in this stage."""
        duration_us = duration_s * 1e6
        self._histogram.record_value(min(max(int(duration_us), 1), MAX_TRACKED_US))
        self.count += 1
        self.sum_us += duration_us

    def encoded(self) -> bytes:
        """Returns the HdrHistogram V2 compressed encoding in base64, which any HdrHistogram library reads."""
        return bytes(self._histogram.encode())


@dataclass(slots=True)
class Counts:
    """Cumulative counters since the engine started."""

    requests: int = 0
    texts: int = 0
    pairs: int = 0
    tokens: int = 0
    padded_tokens: int = 0
    batches: int = 0
    batch_items: int = 0
    truncated_texts: int = 0
    expired: int = 0
    cancelled: int = 0
    poisoned: int = 0
    split_batches: int = 0
    out_of_memory_batches: int = 0
    refused_for_memory: int = 0
    """Texts refused because memory ran out twice."""
    lost_instances: int = 0
    hung_instances: int = 0
    errors: Counter[str] = field(default_factory=Counter)

    @property
    def ended(self) -> int:
        """Requests answered or failed."""
        return self.requests + self.errors.total()


class RequestTimings(NamedTuple):
    """The time of one request in each stage, in seconds."""

    queue_s: float
    tokenize_s: float
    infer_s: float
    serialize_s: float


class Telemetry:
    """The engine's counters, histograms and requests in flight. Implements `BatchObserver`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._process = psutil.Process()
        self._tickets = itertools.count()
        self._in_flight: dict[int, float] = {}
        self.started_s = clock()
        self.counts = Counts()
        self.histograms = {stage: StageHistogram() for stage in STAGES}

    @contextmanager
    def in_flight(self) -> Iterator[None]:
        """A context manager that counts a request as in flight."""
        ticket = next(self._tickets)
        self._in_flight[ticket] = self._clock()
        try:
            yield
        finally:
            del self._in_flight[ticket]

    @property
    def in_flight_requests(self) -> int:
        """The number of requests accepted and not answered."""
        return len(self._in_flight)

    @property
    def oldest_in_flight_s(self) -> float:
        """Age of the oldest unanswered request in seconds; 0 without one."""
        oldest = next(iter(self._in_flight.values()), None)  # in order of arrival
        return 0.0 if oldest is None else self._clock() - oldest

    def request_done(self, timings: RequestTimings, texts: int, pairs: int, truncated: int) -> None:
        """Counts an answered request."""
        counts = self.counts
        counts.requests += 1
        counts.texts += texts
        counts.pairs += pairs
        counts.truncated_texts += truncated
        self.histograms["queue"].record(timings.queue_s)
        self.histograms["tokenize"].record(timings.tokenize_s)
        self.histograms["infer"].record(timings.infer_s)
        self.histograms["serialize"].record(timings.serialize_s)

    def request_failed(self, code_name: str) -> None:
        """Counts a request that ended with an error, by gRPC code name."""
        self.counts.errors[code_name] += 1

    def batch_done(self, record: BatchRecord) -> None:
        """Counts a batch."""
        counts = self.counts
        counts.batches += 1
        counts.batch_items += record.items
        counts.tokens += record.tokens
        counts.padded_tokens += record.padded_tokens
        counts.poisoned += record.poisoned
        counts.split_batches += record.split
        counts.out_of_memory_batches += record.out_of_memory_tokens > 0
        counts.refused_for_memory += record.refused

    def instance_replaced(self, *, hung: bool) -> None:
        """Counts an instance whose thread was lost or hangs."""
        if hung:
            self.counts.hung_instances += 1
        else:
            self.counts.lost_instances += 1

    def items_dropped(self, expired: int, cancelled: int) -> None:
        """Counts texts dropped in the queue before any forward pass."""
        self.counts.expired += expired
        self.counts.cancelled += cancelled

    def process_usage(self) -> tuple[int, float, int]:
        """(resident bytes, user + system CPU seconds, OS threads) of this process."""
        with self._process.oneshot():
            cpu = self._process.cpu_times()
            return self._process.memory_info().rss, cpu.user + cpu.system, self._process.num_threads()

    def now_s(self) -> float:
        """The time on the engine's clock."""
        return self._clock()

    def uptime_s(self) -> float:
        """Seconds since the engine started."""
        return self._clock() - self.started_s
