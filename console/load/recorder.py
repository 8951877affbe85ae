"""Recording of requests: counters and histograms, split into intervals.

Not thread-safe. Recording a request is a few additions and one histogram update, because the load generator shares the
cores with the engine that it measures.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from hdrh.histogram import HdrHistogram

from console.load.calls import Reply
from console.load.protocol import Answers, Interval, Tick

LONGEST_LATENCY_US = 3_600_000_000
SIGNIFICANT_DIGITS = 3


def new_histogram() -> HdrHistogram:
    """Returns an empty histogram of whole microseconds."""
    return HdrHistogram(1, LONGEST_LATENCY_US, SIGNIFICANT_DIGITS)


@dataclass(slots=True)
class _Epoch:
    """Successful requests of one epoch within the interval."""

    requests: int = 0
    texts: int = 0
    latency_sum_us: int = 0
    latency: HdrHistogram = field(default_factory=lambda: new_histogram())

    def answers(self) -> Answers:
        return Answers(self.requests, self.texts, _encode(self.latency), self.latency_sum_us)


def _encode(histogram: HdrHistogram) -> str:
    return str(histogram.encode(), "ascii")


class Recorder:
    """Counts requests from its creation on. `cut` ends an interval and begins the next."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, cpu_clock: Callable[[], float] = time.process_time
    ) -> None:
        self._clock = clock
        self._cpu_clock = cpu_clock
        self.in_flight = 0
        self.requests = 0
        self.texts = 0
        self.retries = 0
        self.errors: Counter[str] = Counter()
        self._index = 0
        self._start_s = self._in_flight_changed_s = clock()
        self._cpu_s = cpu_clock()
        self._reset()

    def _reset(self) -> None:
        self._epochs: dict[int, _Epoch] = {}
        self._deployments: dict[str, dict[str, object]] = {}
        self._errors: Counter[str] = Counter()
        self._retries = self._pairs = self._tokens = self._truncated = 0
        self._first_s: float | None = None
        self._last_s: float | None = None
        self._queue_ms = self._tokenize_ms = self._infer_ms = self._serialize_ms = 0.0
        self._last_error = ""
        self._send_lag: HdrHistogram | None = None
        self._arrivals = self._dropped = 0
        self._request_seconds = 0.0

    def record_start(self) -> None:
        """Counts one more request in flight."""
        self._change_in_flight(1)

    def record_end(self) -> None:
        """Counts one request less in flight, answered or not."""
        self._change_in_flight(-1)

    def _change_in_flight(self, by: int) -> None:
        now_s = self._clock()
        self._request_seconds += self.in_flight * (now_s - self._in_flight_changed_s)
        self._in_flight_changed_s = now_s
        self.in_flight += by

    def record_send_lag(self, lag_s: float) -> None:
        """Records a sent request of a schedule and its lag; it counts as in flight from its scheduled time."""
        self._request_seconds += max(lag_s, 0.0)
        self._arrivals += 1
        if self._send_lag is None:
            self._send_lag = new_histogram()
        self._send_lag.record_value(min(max(int(lag_s * 1e6), 1), LONGEST_LATENCY_US))

    def record_drop(self) -> None:
        """Records a scheduled request that was not sent."""
        self._dropped += 1
        self._arrivals += 1

    def record_success(self, reply: Reply, size: int, is_pairs: bool, started_s: float, ended_s: float) -> None:
        """Records a request of `size` texts (or pairs) that was answered completely."""
        texts = 2 * size if is_pairs else size
        epoch = self._epochs.get(reply.epoch)
        if epoch is None:
            epoch = self._epochs[reply.epoch] = _Epoch()
            self._deployments[str(reply.epoch)] = reply.deployment()
        latency_us = int((ended_s - started_s) * 1e6) or 1
        epoch.requests += 1
        epoch.texts += texts
        epoch.latency_sum_us += latency_us
        epoch.latency.record_value(min(latency_us, LONGEST_LATENCY_US))
        self.requests += 1
        self.texts += texts
        if is_pairs:
            self._pairs += size
        self._tokens += reply.tokens
        self._truncated += reply.truncated
        timings = reply.timings
        self._queue_ms += timings.queue_ms
        self._tokenize_ms += timings.tokenize_ms
        self._infer_ms += timings.infer_ms
        self._serialize_ms += timings.serialize_ms
        if self._first_s is None:
            self._first_s = ended_s
        self._last_s = ended_s

    def record_failure(self, code: str, message: str) -> None:
        """Records a request that finally failed. It does not count as throughput."""
        self._errors[code] += 1
        self.errors[code] += 1
        self._last_error = f"{code}: {message}"

    def record_retry(self, code: str, message: str) -> None:
        """Records a failed attempt of a request that will be retried."""
        self._retries += 1
        self.retries += 1
        self._last_error = f"{code} (retried): {message}"

    def tick(self) -> Tick:
        """Returns the cumulative counters."""
        errors = sum(self.errors.values())
        return Tick(self._clock(), self.requests, self.texts, errors, self.retries, self.in_flight)

    def cut(self) -> Interval:
        """Returns the interval since the last cut, and begins the next one."""
        self._change_in_flight(0)
        now_s, cpu_s = self._in_flight_changed_s, self._cpu_clock()
        duration_s = max(now_s - self._start_s, 1e-9)
        requests = sum(epoch.requests for epoch in self._epochs.values())
        stages = {
            "queue": self._queue_ms,
            "tokenize": self._tokenize_ms,
            "infer": self._infer_ms,
            "serialize": self._serialize_ms,
        }
        interval = Interval(
            index=self._index,
            start_s=self._start_s,
            duration_s=duration_s,
            answers=self._all_answers(),
            pairs=self._pairs,
            errors=dict(self._errors),
            retries=self._retries,
            truncated=self._truncated,
            tokens=self._tokens,
            in_flight=self.in_flight,
            cpu_cores=(cpu_s - self._cpu_s) / duration_s,
            mean_in_flight=self._request_seconds / duration_s,
            send_lag=_encode(self._send_lag) if self._send_lag is not None else None,
            arrivals=self._arrivals,
            dropped=self._dropped,
            first_completion_s=self._first_s,
            last_completion_s=self._last_s,
            stages_ms={name: total / requests for name, total in stages.items()} if requests else {},
            epochs={str(number): epoch.answers() for number, epoch in self._epochs.items()},
            deployments=self._deployments,
            last_error=self._last_error,
        )
        self._index += 1
        self._start_s, self._cpu_s = now_s, cpu_s
        self._reset()
        return interval

    def _all_answers(self) -> Answers:
        epochs = list(self._epochs.values())
        if not epochs:
            return Answers()
        if len(epochs) == 1:
            return epochs[0].answers()
        merged = new_histogram()
        for epoch in epochs:
            merged.add(epoch.latency)
        return Answers(
            sum(epoch.requests for epoch in epochs),
            sum(epoch.texts for epoch in epochs),
            _encode(merged),
            sum(epoch.latency_sum_us for epoch in epochs),
        )
